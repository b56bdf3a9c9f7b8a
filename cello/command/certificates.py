"""What ``cello check`` says of a certificate: whether it loads with its key, for whom it is, for how long."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..config import TlsConfig
from ..server.tls import build_context, shake_hands
from .findings import Finding, Level

SOON_DAYS = 30

_DAY_SECONDS = 86400
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


def look_at(config: TlsConfig, now: float) -> Finding:
    """Load a TlsConfig's files as the server would, and read the certificate; raises StartError.

    ``now`` is in seconds since the epoch.
    """
    with _warnings() as said:
        context = build_context(config)
    details = _details(context, config)
    if details is None:  # it cannot be verified for another reason than its dates
        return Finding(Level.WRONG, "certificates", said[0] if said else _shown(config, "clients refuse it"))
    begin, end = (ssl.cert_time_to_seconds(details[name]) for name in ("notBefore", "notAfter"))
    days = int((end - now) // _DAY_SECONDS)
    if now > end:
        return Finding(Level.WRONG, "certificates", _shown(config, f"expired on {details['notAfter']}"))
    if now < begin:
        text = f"is not valid before {details['notBefore']}"
        return Finding(Level.WRONG, "certificates", _shown(config, text))
    text = f"for {_names(details)}, expires in {days} days, on {details['notAfter']}"
    return Finding(Level.WARNING if days < SOON_DAYS else Level.FINE, "certificates", _shown(config, text))


def _shown(config: TlsConfig, text: str) -> str:
    return f"{os.fspath(config.cert_path)}: {text}"


def _details(context: ssl.SSLContext, config: TlsConfig) -> Mapping[str, Any] | None:
    """Return what a client that trusts this certificate, whatever its dates, reads in it."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    try:
        client.load_verify_locations(config.cert_path)
        return shake_hands(context, client).getpeercert()
    except ssl.SSLError:
        return None


def _names(details: Mapping[str, Any]) -> str:
    names = [name for _, name in details.get("subjectAltName", ())]
    return ", ".join(names) or "no name: browsers look at subjectAltName alone"


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what is logged inside, in place of showing it."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("cello")
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
