"""A terminal's TLS key, the request for its certificate, and when the certificate must be renewed."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def new_tls_key() -> bytes:
    """A fresh ECDSA key on P-256, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def request_for(key: bytes) -> bytes:
    """A certificate request for a PEM key; the hub alone decides the name. ValueError where it is no key."""
    private = serialization.load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("the TLS key is of another kind")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "terminal")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def is_renewal_due(certificate: bytes, now: datetime) -> bool:
    """Whether a PEM certificate is past two thirds of its life, begins only later by a clock that must be wrong then,
    or cannot be read."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return True
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    return now >= end - (end - begin) / 3 or now < begin
