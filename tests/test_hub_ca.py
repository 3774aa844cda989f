"""The hub's certificate authority."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from broker import request
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device.clock import HandClock
from sync.hub.ca import TERMINAL_LIFE, Authority, RequestRefused, end_of, is_renewal_due, serial_of

CLOCK = HandClock()


def loaded(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new("site", CLOCK)


def test_a_terminal_is_named_as_the_hub_says_whatever_its_request_says(authority: Authority) -> None:
    csr, _ = request("hub")
    certificate = loaded(authority.sign_terminal(csr, "t1"))
    assert certificate.subject.rfc4514_string() == "CN=t1"
    assert certificate.public_key() == x509.load_pem_x509_csr(csr).public_key()
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate.verify_directly_issued_by(loaded(authority.certificate_pem()))


def test_no_terminal_bears_the_hubs_name(authority: Authority) -> None:
    with pytest.raises(RequestRefused, match="hub's own name"):
        authority.sign_terminal(request()[0], "hub")


def test_an_altered_or_weak_or_senseless_request_is_refused(authority: Authority) -> None:
    csr, _ = request()
    der = bytearray(x509.load_pem_x509_csr(csr).public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    altered = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(RequestRefused, match="not signed by the key"):
        authority.sign_terminal(altered, "t1")
    key = rsa.generate_private_key(65537, 2048)
    weak = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t")])).sign(key, hashes.SHA256())
    with pytest.raises(RequestRefused, match="P-256 or P-384"):
        authority.sign_terminal(weak.public_bytes(serialization.Encoding.PEM), "t1")
    for nonsense in (b"", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"):
        with pytest.raises(RequestRefused, match="not a certificate request"):
            authority.sign_terminal(nonsense, "t1")


def test_a_server_is_believed_for_its_names_only_and_at_any_time_a_lost_clock_may_show(authority: Authority) -> None:
    server = loaded(authority.server(["127.0.0.1", "hub.local"]).certificate)
    store = verification.Store([loaded(authority.certificate_pem())])

    def verify(name: x509.DNSName, at: datetime) -> None:
        verification.PolicyBuilder().store(store).time(at).build_server_verifier(name).verify(server, [])

    verify(x509.DNSName("hub.local"), CLOCK.now())
    verify(x509.DNSName("hub.local"), datetime(1970, 1, 2, tzinfo=timezone.utc))
    with pytest.raises(verification.VerificationError):
        verify(x509.DNSName("other.local"), CLOCK.now())
    with pytest.raises(verification.VerificationError):
        verify(x509.DNSName("hub.local"), CLOCK.now() + timedelta(days=400))


def test_a_certificate_is_renewed_at_two_thirds_of_its_life(authority: Authority) -> None:
    certificate = authority.sign_terminal(request()[0], "t1")
    assert end_of(certificate) == CLOCK.now() + TERMINAL_LIFE
    assert not is_renewal_due(certificate, CLOCK.now() + timedelta(days=59))
    assert is_renewal_due(certificate, CLOCK.now() + timedelta(days=60))


def test_the_list_of_revocations_names_the_revoked_and_is_signed(authority: Authority) -> None:
    serial = serial_of(authority.sign_terminal(request()[0], "t1"))
    revoked = x509.load_pem_x509_crl(authority.revocations([(serial, CLOCK.now())]))
    assert revoked.is_signature_valid(loaded(authority.certificate_pem()).public_key())  # type: ignore[arg-type]
    assert revoked.get_revoked_certificate_by_serial_number(serial) is not None
    assert revoked.get_revoked_certificate_by_serial_number(serial + 1) is None


def test_a_kept_authority_goes_on_signing(authority: Authority) -> None:
    again = Authority.load(authority.issued(), CLOCK)
    loaded(again.sign_terminal(request()[0], "t1")).verify_directly_issued_by(loaded(authority.certificate_pem()))
    assert "PRIVATE" not in repr(authority.issued())
