"""TLS contexts from files: every fault has its line, and a renewal never breaks what is served."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from trustme import CA, KeyType, LeafCert

from cello.config import TlsConfig
from cello.errors import StartError
from cello.server.tls import CertificateWatcher, build_context

PASSWORD = "correct horse"
MISMATCH = "the key does not belong to the certificate in {!r}"
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> CA:
    return CA()


@pytest.fixture(scope="module")
def leaf(authority: CA) -> LeafCert:
    return authority.issue_cert("localhost")


@pytest.fixture
def config(tmp_path: Path, leaf: LeafCert) -> TlsConfig:
    """A good certificate and key in files of their own."""
    config = TlsConfig(tmp_path / "cert.pem", tmp_path / "key.pem")
    install(config, leaf)
    return config


def certificate_of(leaf: LeafCert) -> bytes:
    return b"".join(pem.bytes() for pem in leaf.cert_chain_pems)


def install(config: TlsConfig, leaf: LeafCert, key: LeafCert | None = None) -> None:
    """Put a pair in a config's place as renewal tools do: written aside, then renamed."""
    replace(config.cert_path, certificate_of(leaf))
    replace(config.key_path, (key or leaf).private_key_pem.bytes())


def replace(path: str | os.PathLike[str], content: bytes) -> None:
    aside = Path(f"{os.fspath(path)}.new")
    aside.write_bytes(content)
    aside.replace(path)


def der_of(leaf: LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


def encrypted(leaf: LeafCert, form: serialization.PrivateFormat) -> bytes:
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(PASSWORD.encode())
    )


def client_context(authority: CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Finish a handshake in memory, on both sides; returns the client's."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(down, up, server_hostname="localhost")
    server_side = server.wrap_bio(up, down, server_side=True)
    for side in (client_side, server_side) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client_side


def shown_by(server: ssl.SSLContext, authority: CA) -> bytes | None:
    return shake_hands(server, client_context(authority)).getpeercert(binary_form=True)


def at(config: TlsConfig, field: str, path: Path) -> TlsConfig:
    return dataclasses.replace(config, **{field: path})  # type: ignore[arg-type]


def fault_of(config: TlsConfig, field: str) -> str:
    """Build a context in vain; returns what the one line says behind the field and its path."""
    with pytest.raises(StartError) as caught:
        build_context(config)
    prefix = f"TlsConfig({field}={os.fspath(getattr(config, field))!r}): "
    line = str(caught.value)
    assert line.startswith(prefix)
    assert "\n" not in line
    return line.removeprefix(prefix)


def kept(config: TlsConfig, field: str, fault: str) -> str:
    """Say what is logged for a renewal that fails."""
    path = os.fspath(getattr(config, field))
    return f"certificate not renewed, the one in use stays: TlsConfig({field}={path!r}): {fault}"


class TestContext:
    def test_a_client_that_trusts_the_authority_gets_through(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert shown_by(build_context(config), authority) == der_of(leaf)
        assert caplog.records == []

    def test_the_whole_chain_is_sent(self, tmp_path: Path, authority: CA) -> None:
        leaf = authority.create_child_ca().issue_cert("localhost")
        config = TlsConfig(tmp_path / "cert.pem", tmp_path / "key.pem")
        install(config, leaf)
        assert shown_by(build_context(config), authority) == der_of(leaf)

    def test_certificate_and_key_may_share_a_file(
        self, tmp_path: Path, authority: CA, leaf: LeafCert
    ) -> None:
        path = tmp_path / "both.pem"
        path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
        assert shown_by(build_context(TlsConfig(path, str(path))), authority) == der_of(leaf)

    @pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None)])
    def test_http_1_1_is_negotiated(
        self, config: TlsConfig, authority: CA, offered: list[str], chosen: str | None
    ) -> None:
        client = client_context(authority)
        client.set_alpn_protocols(offered)
        assert shake_hands(build_context(config), client).selected_alpn_protocol() == chosen

    def test_renegotiation_and_compression_are_off(self, config: TlsConfig) -> None:
        options = build_context(config).options
        assert options & ssl.OP_NO_RENEGOTIATION
        assert options & ssl.OP_NO_COMPRESSION

    def test_the_oldest_version_by_default_is_1_2(self, config: TlsConfig, authority: CA) -> None:
        context = build_context(config)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        client = client_context(authority)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        assert shake_hands(context, client).version() == "TLSv1.2"

    def test_min_version_1_3_refuses_1_2(self, config: TlsConfig, authority: CA) -> None:
        context = build_context(TlsConfig(config.cert_path, config.key_path, min_version="1.3"))
        assert shake_hands(context, client_context(authority)).version() == "TLSv1.3"
        client = client_context(authority)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            shake_hands(context, client)

    def test_clients_must_show_a_certificate_of_their_authority(
        self, tmp_path: Path, config: TlsConfig, authority: CA
    ) -> None:
        clients = CA()
        clients.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        context = build_context(
            TlsConfig(config.cert_path, config.key_path, client_ca_path=tmp_path / "ca.pem")
        )
        known = client_context(authority)
        clients.issue_cert("client").configure_cert(known)
        assert shake_hands(context, known).version() == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
            shake_hands(context, client_context(authority))
        stranger = client_context(authority)
        CA().issue_cert("client").configure_cert(stranger)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate verify failed"):
            shake_hands(context, stranger)


class TestEncryptedKey:
    FORMS = (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL)

    @pytest.mark.parametrize("form", FORMS)
    def test_its_password_opens_it(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, form: serialization.PrivateFormat
    ) -> None:
        replace(config.key_path, encrypted(leaf, form))
        context = build_context(TlsConfig(config.cert_path, config.key_path, key_password=PASSWORD))
        assert shown_by(context, authority) == der_of(leaf)

    @pytest.mark.parametrize("form", FORMS)
    def test_without_a_password_it_is_refused_and_nobody_is_asked(
        self, config: TlsConfig, leaf: LeafCert, form: serialization.PrivateFormat
    ) -> None:
        replace(config.key_path, encrypted(leaf, form))
        assert fault_of(config, "key_path") == "the key is encrypted; give TlsConfig its key_password"

    @pytest.mark.parametrize("form", FORMS)
    def test_another_password_is_refused_unshown(
        self, config: TlsConfig, leaf: LeafCert, form: serialization.PrivateFormat
    ) -> None:
        replace(config.key_path, encrypted(leaf, form))
        config = dataclasses.replace(config, key_password="wrong")
        fault = "the key cannot be decrypted; key_password is wrong or the file is damaged"
        assert fault_of(config, "key_path") == fault

    def test_a_key_of_another_certificate_is_told_from_a_wrong_password(
        self, config: TlsConfig, authority: CA
    ) -> None:
        other = authority.issue_cert("localhost")
        replace(config.key_path, encrypted(other, serialization.PrivateFormat.PKCS8))
        config = dataclasses.replace(config, key_password=PASSWORD)
        assert fault_of(config, "key_path") == MISMATCH.format(str(config.cert_path))


PEM = serialization.Encoding.PEM
NO_PASSWORD = serialization.NoEncryption()


def self_signed(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - DAY).not_valid_after(now + DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n"
PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END DH PARAMETERS-----\n"
BAD_CERTIFICATE = "damaged: OpenSSL cannot read a certificate in it"
BAD_KEY = "damaged: OpenSSL cannot read the private key in it"
NOT_PEM = "not a PEM file (no line '-----BEGIN ...-----')"


class TestFaults:
    FIELDS = ("cert_path", "key_path", "client_ca_path")

    @pytest.mark.parametrize("field", FIELDS)
    def test_a_missing_file(self, tmp_path: Path, config: TlsConfig, field: str) -> None:
        config = at(config, field, tmp_path / "gone.pem")
        assert fault_of(config, field) == "no such file"

    def test_a_relative_path_says_where_it_was_looked_for(
        self, tmp_path: Path, config: TlsConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        config = dataclasses.replace(config, cert_path="gone.pem")
        assert fault_of(config, "cert_path") == f"no such file in {os.getcwd()}"

    @pytest.mark.parametrize("field", FIELDS)
    def test_a_directory(self, tmp_path: Path, config: TlsConfig, field: str) -> None:
        config = at(config, field, tmp_path)
        assert fault_of(config, field) == "this is a directory, expected a PEM file"

    def test_a_device(self, config: TlsConfig) -> None:
        config = dataclasses.replace(config, cert_path=os.devnull)
        assert fault_of(config, "cert_path") == "this is not a regular file, expected a PEM file"

    def test_a_path_through_a_file(self, config: TlsConfig) -> None:
        config = dataclasses.replace(config, key_path=f"{os.fspath(config.cert_path)}/key.pem")
        assert fault_of(config, "key_path") == "cannot be read: Not a directory"

    def test_an_unreadable_file(self, config: TlsConfig, as_nobody: None) -> None:
        if os.getuid() != 0:
            os.chmod(config.cert_path, 0)
        fault = "permission denied; the server's user must be able to read it"
        assert fault_of(config, "cert_path") == fault

    @pytest.mark.parametrize("field", FIELDS)
    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "the file is empty"),
            (b" \n", "the file is empty"),
            (b"hello", NOT_PEM),
            (b"\x30\x82\x01\x02", f"{NOT_PEM}; it looks like DER, which openssl converts (-inform DER)"),
        ],
    )
    def test_no_pem(self, tmp_path: Path, config: TlsConfig, field: str, content: bytes, fault: str) -> None:
        path = tmp_path / "other"
        path.write_bytes(content)
        assert fault_of(at(config, field, path), field) == fault

    @pytest.mark.parametrize(
        ("field", "fault"),
        [
            ("cert_path", "holds no certificate but DH PARAMETERS"),
            ("key_path", "holds no private key but DH PARAMETERS"),
            ("client_ca_path", "holds no certificate but DH PARAMETERS"),
        ],
    )
    def test_pem_of_something_else(self, tmp_path: Path, config: TlsConfig, field: str, fault: str) -> None:
        path = tmp_path / "dh.pem"
        path.write_bytes(PARAMETERS * 2)
        assert fault_of(at(config, field, path), field) == fault

    def test_swapped_files(self, config: TlsConfig) -> None:
        fault = fault_of(TlsConfig(config.key_path, config.cert_path), "cert_path")
        assert fault == "cert_path holds a private key; are cert_path and key_path swapped?"

    def test_the_certificate_in_both_places(self, config: TlsConfig) -> None:
        fault = fault_of(TlsConfig(config.cert_path, config.cert_path), "key_path")
        assert fault == "key_path holds a certificate and no private key; is it the wrong file?"

    @pytest.mark.parametrize("kind", [KeyType.ECDSA, KeyType.RSA])
    def test_a_key_of_another_certificate(self, config: TlsConfig, authority: CA, kind: KeyType) -> None:
        replace(config.key_path, authority.issue_cert("localhost", key_type=kind).private_key_pem.bytes())
        assert fault_of(config, "key_path") == MISMATCH.format(str(config.cert_path))

    def test_a_damaged_certificate(self, config: TlsConfig, leaf: LeafCert) -> None:
        good, damaged = certificate_of(leaf), CERTIFICATE % b"AAAA\n"
        for content in (damaged, good[:300], good + damaged):
            replace(config.cert_path, content)
            assert fault_of(config, "cert_path") == BAD_CERTIFICATE

    def test_a_damaged_key(self, config: TlsConfig) -> None:
        replace(config.key_path, KEY % b"AAAA\n")
        assert fault_of(config, "key_path") == BAD_KEY

    def test_a_key_too_small_for_openssl(self, config: TlsConfig) -> None:
        key = rsa.generate_private_key(65537, 1024)
        replace(config.cert_path, self_signed(key))
        replace(config.key_path, key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NO_PASSWORD))
        assert fault_of(config, "cert_path") == "OpenSSL refuses this certificate: ee key too small"

    def test_damaged_client_authorities(self, tmp_path: Path, config: TlsConfig) -> None:
        path = tmp_path / "ca.pem"
        path.write_bytes(CERTIFICATE % b"AAAA\n")
        config = dataclasses.replace(config, client_ca_path=path)
        assert fault_of(config, "client_ca_path") == BAD_CERTIFICATE

    @pytest.mark.parametrize(
        ("first", "last", "fault"),
        [(-2 * DAY, -DAY, "certificate has expired"), (DAY, 2 * DAY, "certificate is not yet valid")],
    )
    def test_a_certificate_out_of_its_time_is_served_with_a_warning(
        self,
        config: TlsConfig,
        authority: CA,
        caplog: pytest.LogCaptureFixture,
        first: datetime.timedelta,
        last: datetime.timedelta,
        fault: str,
    ) -> None:
        now = datetime.datetime.now(datetime.UTC)
        install(config, authority.issue_cert("localhost", not_before=now + first, not_after=now + last))
        build_context(config)
        line = f"certificate {config.cert_path}: clients will refuse it ({fault})"
        assert caplog.record_tuples == [("cello", logging.WARNING, line)]


class TestWatcher:
    @pytest.fixture(autouse=True)
    def _log_everything(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "cello")

    def test_faults_at_the_start_are_raised(self, tmp_path: Path) -> None:
        with pytest.raises(StartError, match="no such file"):
            CertificateWatcher(TlsConfig(tmp_path / "c", tmp_path / "k"))

    def test_reload_serves_the_new_pair_from_the_same_context(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        context = watcher.context
        assert shown_by(context, authority) == der_of(leaf)
        renewed = authority.issue_cert("localhost")
        install(config, renewed)
        assert watcher.reload() is True
        assert watcher.context is context
        assert shown_by(context, authority) == der_of(renewed)
        assert caplog.record_tuples == [
            ("cello", logging.INFO, f"certificate {config.cert_path} was loaded anew")
        ]

    def test_half_a_pair_never_reaches_the_live_context(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        install(config, authority.issue_cert("localhost"), key=leaf)
        assert watcher.reload() is False
        assert shown_by(watcher.context, authority) == der_of(leaf)
        line = kept(config, "key_path", MISMATCH.format(str(config.cert_path)))
        assert caplog.record_tuples == [("cello", logging.ERROR, line)]

    def test_check_does_nothing_while_nothing_changes(
        self, config: TlsConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        assert [watcher.check() for _ in range(3)] == [False, False, False]
        assert caplog.records == []

    def test_check_waits_until_the_files_hold_still(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        renewed = authority.issue_cert("localhost")
        replace(config.cert_path, certificate_of(renewed))
        assert watcher.check() is False
        replace(config.key_path, renewed.private_key_pem.bytes())
        assert watcher.check() is False
        assert shown_by(watcher.context, authority) == der_of(leaf)
        assert caplog.records == []
        assert watcher.check() is True
        assert shown_by(watcher.context, authority) == der_of(renewed)
        assert watcher.check() is False

    def test_check_reports_a_bad_pair_once_and_heals(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        replace(config.key_path, b"")
        assert [watcher.check() for _ in range(4)] == [False] * 4
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        renewed = authority.issue_cert("localhost")
        install(config, renewed)
        assert [watcher.check() for _ in range(3)] == [False, True, False]
        assert shown_by(watcher.context, authority) == der_of(renewed)

    def test_check_takes_a_missing_file_for_a_change(
        self, config: TlsConfig, leaf: LeafCert, authority: CA, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        os.unlink(config.key_path)
        assert [watcher.check() for _ in range(3)] == [False] * 3
        assert caplog.messages == [kept(config, "key_path", "no such file")]
        install(config, leaf)
        assert [watcher.check() for _ in range(2)] == [False, True]

    @pytest.mark.parametrize("field", ["st_mtime_ns", "st_size", "st_ino"])
    def test_any_sign_of_change_counts(self, config: TlsConfig, field: str) -> None:
        changed: dict[str, int] = {}

        def stat(path: str) -> os.stat_result:
            real = os.stat(path)
            names = {name: getattr(real, name) for name in ("st_mtime_ns", "st_size", "st_ino")}
            return type("Status", (), {**names, **changed})  # type: ignore[return-value]

        watcher = CertificateWatcher(config, stat)
        assert [watcher.check(), watcher.check()] == [False, False]
        changed[field] = 1
        assert [watcher.check(), watcher.check(), watcher.check()] == [False, True, False]

    def test_files_that_change_while_they_are_read_are_left_for_the_next_check(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        renewed = authority.issue_cert("localhost")
        calls = 0

        def stat(path: str) -> os.stat_result:
            nonlocal calls
            calls += 1
            if calls == 5:  # two files at the start, two before reading: the fifth comes after it
                install(config, renewed)
            return os.stat(path)

        watcher = CertificateWatcher(config, stat)
        assert watcher.reload() is False
        assert caplog.messages == [
            "certificate not renewed, the one in use stays: the files changed while they were read"
        ]
        assert shown_by(watcher.context, authority) == der_of(leaf)
        assert [watcher.check(), watcher.check()] == [False, True]
        assert shown_by(watcher.context, authority) == der_of(renewed)

    def test_a_new_client_authority_is_added(self, tmp_path: Path, config: TlsConfig, authority: CA) -> None:
        old, new = CA(), CA()
        path = tmp_path / "ca.pem"
        old.cert_pem.write_to_path(str(path))
        watcher = CertificateWatcher(TlsConfig(config.cert_path, config.key_path, client_ca_path=path))
        client = client_context(authority)
        new.issue_cert("client").configure_cert(client)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate verify failed"):
            shake_hands(watcher.context, client)
        replace(path, new.cert_pem.bytes())
        assert [watcher.check(), watcher.check()] == [False, True]
        assert shake_hands(watcher.context, client).version() == "TLSv1.3"

    def test_a_key_of_another_type_that_openssl_does_not_prefer_needs_a_restart(
        self, config: TlsConfig, authority: CA, leaf: LeafCert, caplog: pytest.LogCaptureFixture
    ) -> None:
        watcher = CertificateWatcher(config)
        install(config, authority.issue_cert("localhost", key_type=KeyType.RSA))
        assert watcher.reload() is False
        assert shown_by(watcher.context, authority) == der_of(leaf)
        line = (
            f"certificate {config.cert_path} has another type of key: the old one is served until a restart"
        )
        assert caplog.record_tuples == [("cello", logging.ERROR, line)]
