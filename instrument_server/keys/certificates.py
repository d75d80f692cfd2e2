"""Certificates of an instrument's own small authority; the only file that imports `cryptography`.

A certificate says who somebody is, for as long as the authority lasts. Expiry, role and revocation
are the list's, where they can change and where a refusal can be told by name.

Elliptic curve P-256 (RFC 5480), X.509 version 3 (RFC 5280).
"""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ...core.key_file import SERVER_NAME

YEARS = 20
_START_EARLIER = timedelta(days=1)
"""Clocks of client and instrument may differ."""


class Certified(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: str
    private: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate as it is shown in a handshake."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate)).hexdigest()


def new_authority() -> Certified:
    """Return an authority that signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = _named("authority of an instrument")
    building = _begun(name, name, private).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return _signed(building.add_extension(_usage(signs=True), critical=True), private, private)


def server_certificate(authority: Certified) -> Certified:
    """Return the certificate that the instrument shows."""
    return _issued(authority, SERVER_NAME, ExtendedKeyUsageOID.SERVER_AUTH)


def client_certificate(authority: Certified, name: str) -> Certified:
    """Return the certificate of a key; it cannot be shown as an instrument's."""
    return _issued(authority, name, ExtendedKeyUsageOID.CLIENT_AUTH)


def _issued(authority: Certified, name: str, purpose: x509.ObjectIdentifier) -> Certified:
    signer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signing = serialization.load_pem_private_key(authority.private.encode(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    private = ec.generate_private_key(ec.SECP256R1())
    building = _begun(_named(name), signer.subject, private)
    building = building.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    building = building.add_extension(_usage(signs=False), critical=True)
    building = building.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    building = building.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
    )
    if purpose == ExtendedKeyUsageOID.SERVER_AUTH:
        building = building.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return _signed(building, private, signing)


def _named(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "beamloop")]
    )


def _begun(subject: x509.Name, issuer: x509.Name, private: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _START_EARLIER)
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _signed(
    building: x509.CertificateBuilder, private: ec.EllipticCurvePrivateKey, signing: ec.EllipticCurvePrivateKey
) -> Certified:
    certificate = building.sign(signing, hashes.SHA256())
    return Certified(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
