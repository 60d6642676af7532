"""TLS between workers and nodes, with a certificate that is made for one act."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.processes import HOST


#: In the configuration: file of the certificate that nodes have to show.
CERTIFICATE = "DRILL_CERTIFICATE"
#: The clock of a worker may be wrong by less than this.
_DAY = timedelta(days=1)


def make_certificate(path: Path) -> None:
    """Write a new key, and the certificate of this machine for it, into *path*."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "drill")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )


def with_context(config: Mapping[str, object]) -> dict[str, object]:
    """Return *config* with what a worker makes of it: a context cannot be handed to a process."""
    made = dict(config)
    path = made.pop(CERTIFICATE, None)
    if path is not None:
        made["MSM_TLS_CONTEXT"] = ssl.create_default_context(cafile=str(path))
    return made
