"""A small certificate authority for tests and demonstrations, and the two ends' TLS settings.

The authority's private key is never written: nobody, the user included, can add a certificate later. Networks that
outlive a demonstration bring certificates of their own; the common name of an SAE's is its id.
"""

import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ceas.errors import DomainError

__all__ = ["CertificateFiles", "client_context", "make_certificates", "server_context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """PEM files by which one end of a connection proves who it is and checks who the other is.

    Attributes:
        certificate: Own certificate (chain).
        private_key: Its private key, not encrypted.
        authority: Certificates of the authorities that the other end may come from.
    """

    certificate: Path
    private_key: Path
    authority: Path

    @classmethod
    def of(cls, directory: Path, name: str) -> "CertificateFiles":
        """Return the files of one name in a folder that `make_certificates` wrote."""
        return cls(
            certificate=directory / f"{name}.pem",
            private_key=directory / f"{name}.key",
            authority=directory / "ca.pem",
        )


def make_certificates(
    directory: Path,
    sae_ids: Iterable[str],
    *,
    kme_id: str = "kme",
    hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
    valid_days: int = 365,
) -> list[Path]:
    """Write `ca.pem`, and for the key server and every SAE `NAME.pem` and `NAME.key` (readable by the owner alone).

    Args:
        directory: Folder, made if it is missing.
        sae_ids: SAEs; each id becomes a common name and the name of two files.
        kme_id: Name of the key server's certificate.
        hosts: Names and addresses under which the server may be reached.
        valid_days: Days until the certificates expire, at least 1.

    Returns:
        The files that were written.

    Raises:
        DomainError: a name occurs twice or is `ca`, a file is already there, or the folder cannot be written.
    """
    names = [kme_id, *sae_ids]
    if len({"ca", *names}) < len(names) + 1 or any(os.sep in name or not name for name in names):
        raise DomainError(f"Names of certificates must be file names, differ and not be `ca`, but are {names}.")
    if valid_days < 1:
        raise DomainError(f"Argument `valid_days` must be at least 1, but is {valid_days}.")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, valid_days)
    files: dict[str, bytes] = {"ca.pem": _pem(authority)}
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _issued(
            name, key, authority, authority_key, hosts=hosts if name == kme_id else (), valid_days=valid_days
        )
        files[f"{name}.pem"] = _pem(certificate)
        files[f"{name}.key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return _written(directory, files)


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return TLS settings of a server that talks only to clients with a certificate of the authority.

    Raises:
        DomainError: a file is missing or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _loaded(context, files)


def client_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return TLS settings of a client that talks only to a server with a certificate of the authority and its own name.

    Raises:
        DomainError: a file is missing or does not hold what it should.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


def _loaded(context: ssl.SSLContext, files: CertificateFiles) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (files.authority, files.certificate, files.private_key):
        if not path.is_file():
            raise DomainError(f"there is no file {path}")
    try:
        context.load_verify_locations(cafile=files.authority)
    except (ssl.SSLError, OSError) as error:
        raise DomainError(f"{files.authority} cannot be read as PEM certificates: {error}") from error
    try:
        # An empty password, because without one OpenSSL would ask for it on the terminal.
        context.load_cert_chain(files.certificate, files.private_key, password="")
    except (ssl.SSLError, OSError) as error:
        raise DomainError(f"{files.certificate} and {files.private_key} are no certificate and key: {error}") from error
    return context


def _written(directory: Path, files: dict[str, bytes]) -> list[Path]:
    paths = [directory / name for name in files]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if taken := [path.name for path in paths if path.exists()]:
            raise DomainError(f"{directory} has {', '.join(taken)} already; choose another folder")
        for path, content in zip(paths, files.values(), strict=True):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if path.suffix == ".key" else 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
    except OSError as error:
        raise DomainError(f"{directory} cannot be written: {error.strerror}") from error
    return paths


def _authority(key: ec.EllipticCurvePrivateKey, valid_days: int) -> x509.Certificate:
    name = _name("CEAS test authority")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(name, name, key.public_key(), valid_days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _issued(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    *,
    hosts: Sequence[str],
    valid_days: int,
) -> x509.Certificate:
    """Return a certificate for a server at `hosts`, or for a client where there are none."""
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(_name(name), authority.subject, key.public_key(), valid_days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # An hour of grace for clocks that differ.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=valid_days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        **dict.fromkeys(
            (
                *("content_commitment", "key_encipherment", "data_encipherment"),
                *("key_agreement", "encipher_only", "decipher_only"),
            ),
            False,
        ),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
