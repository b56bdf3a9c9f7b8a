"""Makes a certificate for trying TLS on this machine: python ci/make-certificates.py FOLDER [NAME...]

Writes cert.pem and key.pem for TlsConfig, and ca.pem, which a client has to trust (curl --cacert ca.pem). The
names default to localhost, 127.0.0.1 and ::1. Not for the public: nobody else trusts this authority.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1", "::1")


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def make_certificates(folder: Path, names: list[str]) -> None:
    """Write an authority's certificate, and a certificate with its chain and key for these names."""
    authority = trustme.CA()
    server = authority.issue_cert(*names)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    write_private(folder / "key.pem", server.private_key_pem.bytes())


def main() -> None:
    """Read the command line and say what was written."""
    parser = argparse.ArgumentParser(description="Make a certificate for trying TLS on this machine.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="host names and addresses")
    options = parser.parse_args()
    make_certificates(options.folder, options.names or list(NAMES))
    print(f"wrote cert.pem, key.pem and ca.pem to {options.folder}")


if __name__ == "__main__":
    main()
