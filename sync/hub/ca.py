"""The hub's own certificate authority: who may open a TLS connection to the broker and to the hub.

Used by `claims` (terminals), `broker` and `serve` (servers and the hub's own client). Keys are ECDSA on P-256
(FIPS 186-5), which every TLS library speaks. Certificates say who connects; what is said is signed and sealed by
the keys of `sync.wire`, so this authority alone can neither read nor forge a message.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device.clock import Clock
from device.errors import TerminalError
from sync.wire.topics import checked

TERMINAL_LIFE = timedelta(days=90)
SERVER_LIFE = timedelta(days=398)  # what browsers accept at most, should a page be served with it
AUTHORITY_LIFE = timedelta(days=30 * 365)
CRL_LIFE = timedelta(days=3650)  # one that runs out would lock every terminal out; each change writes a new one

# A terminal that lost its clock wakes in 1970: what it checks servers by must hold then, or it never gets the time.
_ALWAYS = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SKEW = timedelta(days=1)  # a broker's clock may be behind the hub's

HUB = "hub"  # the hub's own name at the broker; no terminal may bear it


class RequestRefused(TerminalError, ValueError):
    """A certificate request that is not signed as it must be."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Issued()"


class Authority:
    """The root key, and what it signs."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, clock: Clock) -> None:
        self._key, self._certificate, self._clock = key, certificate, clock

    @classmethod
    def new(cls, site: str, clock: Clock) -> Authority:
        """A fresh root for one site; keep `key_pem()` sealed and `certificate_pem()` beside it."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"{checked(site)} door authority")
        builder = _builder(name, name, key.public_key(), _ALWAYS, clock.now() + AUTHORITY_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(is_authority=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(key, builder.sign(key, hashes.SHA256()), clock)

    @classmethod
    def load(cls, issued: Issued, clock: Clock) -> Authority:
        """The root that `issued()` described; ValueError where it is none."""
        key = serialization.load_pem_private_key(issued.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is of another kind")
        return cls(key, x509.load_pem_x509_certificate(issued.certificate), clock)

    def issued(self) -> Issued:
        """The root itself; its key is to be kept sealed."""
        return Issued(self.certificate_pem(), _key_pem(self._key))

    def certificate_pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, names: Sequence[str]) -> Issued:
        """A certificate for a server that is reached under these host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._leaf(names[0], key.public_key(), _ALWAYS, SERVER_LIFE, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), False)
        return Issued(self._signed(builder), _key_pem(key))

    def client(self, name: str = HUB) -> Issued:
        """A certificate by which the hub itself connects to the broker."""
        key = ec.generate_private_key(ec.SECP256R1())
        begin = self._clock.now() - _SKEW
        builder = self._leaf(name, key.public_key(), begin, SERVER_LIFE + _SKEW, ExtendedKeyUsageOID.CLIENT_AUTH)
        return Issued(self._signed(builder), _key_pem(key))

    def sign_terminal(self, csr: bytes, terminal_id: str) -> bytes:
        """PEM certificate for the key in a terminal's request; what the request says of names is not looked at.

        RequestRefused where it is no request, not signed by the key it is for, or that key is too weak.
        """
        if checked(terminal_id) == HUB:
            raise RequestRefused(f"{HUB!r} is the hub's own name; choose another terminal id")
        public = _public_of(csr)
        begin = self._clock.now() - _SKEW
        builder = self._leaf(terminal_id, public, begin, TERMINAL_LIFE + _SKEW, ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._signed(builder)

    def revocations(self, revoked: Iterable[tuple[int, datetime]]) -> bytes:
        """PEM revocation list of (serial, since when)."""
        now = self._clock.now()
        builder = x509.CertificateRevocationListBuilder(self._certificate.subject, now - _SKEW, now + CRL_LIFE)
        for serial, since in revoked:
            entry = x509.RevokedCertificateBuilder(serial, since).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _leaf(self, name: str, public: CertificatePublicKeyTypes, begin: datetime, life: timedelta,
              purpose: x509.ObjectIdentifier) -> x509.CertificateBuilder:
        end = max(begin, self._clock.now() - _SKEW) + life
        builder = _builder(_name(name), self._certificate.subject, public, begin, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(is_authority=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(identifier, critical=False)

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def __repr__(self) -> str:
        return f"Authority({self._certificate.subject.rfc4514_string()})"


def serial_of(certificate: bytes) -> int:
    """Serial number of a PEM certificate."""
    return x509.load_pem_x509_certificate(certificate).serial_number


def end_of(certificate: bytes) -> datetime:
    """Until when a PEM certificate holds."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def is_renewal_due(certificate: bytes, now: datetime, life: timedelta = TERMINAL_LIFE) -> bool:
    """Whether a PEM certificate is past two thirds of its life."""
    return now >= end_of(certificate) - life / 3


def _public_of(csr: bytes) -> CertificatePublicKeyTypes:
    try:
        request = x509.load_pem_x509_csr(csr)
        public = request.public_key()
        is_sound = request.is_signature_valid
    except Exception:  # the library raises many kinds for a request that is none
        raise RequestRefused("not a certificate request in PEM form") from None
    if not is_sound:
        raise RequestRefused("the certificate request is not signed by the key it is for")
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1 | ec.SECP384R1):
        raise RequestRefused("the certificate request must be for an ECDSA key on P-256 or P-384")
    return public


def _builder(subject: x509.Name, issuer: x509.Name, public: CertificatePublicKeyTypes, begin: datetime,
             end: datetime) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), begin, end)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not is_authority, content_commitment=False, key_encipherment=False,
                         data_encipherment=False, key_agreement=False, key_cert_sign=is_authority,
                         crl_sign=is_authority, encipher_only=False, decipher_only=False)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
