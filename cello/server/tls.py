"""TLS: from a TlsConfig's files to an ssl context, at the start and at every renewal.

Files are read and looked at before OpenSSL gets them, because its own messages ("PEM lib") name neither the
file nor the fault. A renewal is loaded into a fresh context first, so that a bad or half-written pair never
reaches the context that serves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import ssl
import stat as stat_module
from collections.abc import Callable

from ..config import TlsConfig
from ..errors import StartError

_log = logging.getLogger("cello")

_LABEL = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)  # RFC 7468 3
_MIN_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# Two keys of one kind, of two kinds, and a key for which no certificate was loaded.
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")


def build_context(config: TlsConfig) -> ssl.SSLContext:
    """Build a server's context from a TlsConfig's files.

    Never asks for a password on a terminal. Logs a warning for a certificate that is not valid now. Raises
    StartError with one line that names the field, the file and the fault.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MIN_VERSIONS[config.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    certificate = _load_files(context, config)
    _warn_unless_valid(context, config, certificate)
    return context


def _load_files(context: ssl.SSLContext, config: TlsConfig) -> bytes:
    """Load a config's files into a context; returns the certificate file's content."""
    certificate = _read_certificate(config)
    key = _read_key(config)
    _load_pair(context, config, certificate, _is_encrypted(key))
    if config.client_ca_path is not None:
        _load_client_ca(context, config)
    return certificate


def _fault(config: TlsConfig, field: str, fault: str) -> StartError:
    return StartError(f"TlsConfig({field}={os.fspath(getattr(config, field))!r}): {fault}")


def _read(config: TlsConfig, field: str) -> bytes:
    path = getattr(config, field)
    try:
        # A pipe could be read only once, and a renewal reads again.
        if not stat_module.S_ISREG(os.stat(path).st_mode):
            what = "a directory" if os.path.isdir(path) else "not a regular file"
            raise _fault(config, field, f"this is {what}, expected a PEM file")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as exc:
        where = "" if os.path.isabs(path) else f" in {os.getcwd()}"
        raise _fault(config, field, f"no such file{where}") from exc
    except PermissionError as exc:
        raise _fault(config, field, "permission denied; the server's user must be able to read it") from exc
    except OSError as exc:
        raise _fault(config, field, f"cannot be read: {exc.strerror}") from exc


def _read_pem(config: TlsConfig, field: str) -> tuple[bytes, list[bytes]]:
    content = _read(config, field)
    if not content.strip():
        raise _fault(config, field, "the file is empty")
    labels = _LABEL.findall(content)
    if not labels:
        # 0x30 opens an ASN.1 SEQUENCE: the binary form of the same things.
        hint = "; it looks like DER, which openssl converts (-inform DER)" if content[:1] == b"\x30" else ""
        raise _fault(config, field, f"not a PEM file (no line '-----BEGIN ...-----'){hint}")
    return content, labels


def _read_certificate(config: TlsConfig) -> bytes:
    content, labels = _read_pem(config, "cert_path")
    if not any(label.endswith(b"CERTIFICATE") for label in labels):
        if any(label.endswith(b"PRIVATE KEY") for label in labels):
            fault = "cert_path holds a private key; are cert_path and key_path swapped?"
            raise _fault(config, "cert_path", fault)
        raise _fault(config, "cert_path", f"holds no certificate but {_in_words(labels)}")
    return content


def _read_key(config: TlsConfig) -> bytes:
    content, labels = _read_pem(config, "key_path")
    if not any(label.endswith(b"PRIVATE KEY") for label in labels):
        if any(label.endswith(b"CERTIFICATE") for label in labels):
            fault = "key_path holds a certificate and no private key; is it the wrong file?"
            raise _fault(config, "key_path", fault)
        raise _fault(config, "key_path", f"holds no private key but {_in_words(labels)}")
    return content


def _in_words(labels: list[bytes]) -> str:
    return ", ".join(dict.fromkeys(label.decode("ascii") for label in labels))


def _is_encrypted(key: bytes) -> bool:
    # PKCS #8 (RFC 5958) has a label of its own, the older forms a header (RFC 1421 4.6.1.1).
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in key or b"Proc-Type: 4,ENCRYPTED" in key


def _load_pair(context: ssl.SSLContext, config: TlsConfig, certificate: bytes, is_encrypted: bool) -> None:
    def password() -> bytes:
        # Without this callback OpenSSL would prompt on the terminal and hang a server that has one.
        if config.key_password is None:
            raise _fault(config, "key_path", "the key is encrypted; give TlsConfig its key_password")
        return config.key_password.encode("utf-8", "surrogateescape")

    try:
        context.load_cert_chain(config.cert_path, config.key_path, password)
    except ssl.SSLError as exc:
        if exc.reason in _MISMATCHES:
            fault = f"the key does not belong to the certificate in {os.fspath(config.cert_path)!r}"
        elif is_encrypted and config.key_password is not None:
            fault = "the key cannot be decrypted; key_password is wrong or the file is damaged"
        else:
            raise _damaged(config, certificate, exc) from exc
        raise _fault(config, "key_path", fault) from exc
    except OSError as exc:
        raise _fault(config, "cert_path", f"cannot be read: {exc.strerror}") from exc


def _damaged(config: TlsConfig, certificate: bytes, exc: ssl.SSLError) -> StartError:
    """Find out which of the two files OpenSSL cannot use."""
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        judge.load_verify_locations(cadata=certificate.decode("ascii", "ignore"))
    except ssl.SSLError:
        return _fault(config, "cert_path", "damaged: OpenSSL cannot read a certificate in it")
    if exc.library == "SSL" and exc.reason:
        # A rule of OpenSSL's security level, such as "ee key too small".
        reason = exc.reason.lower().replace("_", " ")
        return _fault(config, "cert_path", f"OpenSSL refuses this certificate: {reason}")
    return _fault(config, "key_path", "damaged: OpenSSL cannot read the private key in it")


def _load_client_ca(context: ssl.SSLContext, config: TlsConfig) -> None:
    _, labels = _read_pem(config, "client_ca_path")
    if not any(label.endswith(b"CERTIFICATE") for label in labels):
        raise _fault(config, "client_ca_path", f"holds no certificate but {_in_words(labels)}")
    assert config.client_ca_path is not None
    try:
        context.load_verify_locations(config.client_ca_path)
    except ssl.SSLError as exc:
        raise _fault(config, "client_ca_path", "damaged: OpenSSL cannot read a certificate in it") from exc
    context.verify_mode = ssl.CERT_REQUIRED


def _warn_unless_valid(context: ssl.SSLContext, config: TlsConfig, certificate: bytes) -> None:
    """Warn of a certificate that every client will refuse, such as an expired one.

    A client that trusts just this certificate is the judge: it checks dates and purpose as real ones do.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(cadata=certificate.decode("ascii", "ignore"))
        shake_hands(context, client)
    except ssl.SSLError as exc:
        reason = exc.verify_message if isinstance(exc, ssl.SSLCertVerificationError) else exc.reason
        _log.warning("certificate %s: clients will refuse it (%s)", os.fspath(config.cert_path), reason)


def _certificate_shown(context: ssl.SSLContext) -> bytes | None:
    """Tell which certificate (DER) an ordinary client is shown, None when there is no handshake at all."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    try:
        return shake_hands(context, client).getpeercert(binary_form=True)
    except ssl.SSLError:
        return None


def shake_hands(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> ssl.SSLObject:
    """Play a handshake in memory up to the client's view of the server's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client


_Signature = tuple[tuple[int, int, int] | None, ...]


class CertificateWatcher:
    """Keeps a live context at the level of its files, without a restart.

    ``context`` is the one object to serve with; connections that are open keep what they have. ``check`` is
    called every few seconds, ``reload`` on SIGHUP. A renewed client CA file is taken up as far as ssl allows:
    its authorities are added to those that the context trusts already (load_verify_locations only adds), and
    one that was removed from the file is trusted until a restart. OpenSSL keeps one certificate for each type
    of key, so a renewal that changes the type (ECDSA to RSA) may need a restart too: ``reload`` finds out and
    logs it.
    """

    def __init__(self, config: TlsConfig, stat: Callable[[str], os.stat_result] = os.stat) -> None:
        """Build the context from the config's files; raises StartError."""
        self.config = config
        self._stat = stat
        self._loaded = self._seen = self._signature()
        self.context = build_context(config)

    def reload(self) -> bool:
        """Load the files into the live context; tells whether it serves them now.

        On failure one line is logged and the context stays as it was.
        """
        self._loaded = self._seen = self._signature()
        try:
            fresh = build_context(self.config)
            if self._signature() != self._loaded:
                raise StartError("the files changed while they were read")
            _load_files(self.context, self.config)
        except StartError as exc:
            _log.error("certificate not renewed, the one in use stays: %s", exc)
            return False
        return self._has_taken_effect(fresh)

    def check(self) -> bool:
        """Reload when the files have changed and then held still since the last check.

        Tells whether a renewed certificate was taken up.
        """
        before, self._seen = self._seen, self._signature()
        if self._seen == self._loaded or self._seen != before:
            return False
        return self.reload()

    def _has_taken_effect(self, fresh: ssl.SSLContext) -> bool:
        path = os.fspath(self.config.cert_path)
        if _certificate_shown(self.context) != _certificate_shown(fresh):
            _log.error("certificate %s has another type of key: the old one is served until a restart", path)
            return False
        _log.info("certificate %s was loaded anew", path)
        return True

    def _signature(self) -> _Signature:
        config = self.config
        paths = (config.cert_path, config.key_path, config.client_ca_path)
        return tuple(self._sign(os.fspath(path)) for path in paths if path is not None)

    def _sign(self, path: str) -> tuple[int, int, int] | None:
        try:
            status = self._stat(path)
        except OSError:  # a file that is being replaced, or is gone: a state like any other
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
