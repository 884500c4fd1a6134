"""The server's certificate: the configured one, checked, or a self-signed one, made when none fits.

The ``openssl`` program does the cryptography: it is in the image with sendmail's own TLS.
"""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from postroad import system
from postroad.config.model import Config
from postroad.errors import CommandError, InstallError
from postroad.secrets import files as named_files

WARNING = timedelta(days=14)
"""How long before a certificate expires the warnings begin."""
LIFE, RENEWAL = timedelta(days=3650), timedelta(days=30)
"""How long a self-signed certificate is valid, and how long before it expires it is replaced."""

_DATE = r"([0-9-]{10} [0-9:]{8})Z$"


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, both PEM, and warnings about them.

    Attributes:
        certificate: the certificate, followed by its issuers' if they were given.
        key: its private key.
        warnings: problems that do not prevent a start, one line each.
        due: when to check it again, because a warning or a renewal will be due then.
    """

    certificate: bytes
    key: bytes
    warnings: tuple[str, ...]
    due: datetime


@dataclass(frozen=True)
class _Facts:
    public_key: str
    begin: datetime
    end: datetime
    covers: bool


def ensure(config: Config, state: Path, *, keep: bool = True) -> Pair:
    """The configured pair, or else a self-signed one from the state volume, made now if necessary.

    Without ``keep``, a new certificate is not written to the volume.

    Raises:
        InstallError: the configured files can't be read or parsed, don't belong together, or are not valid today.
        CommandError: openssl can't make one.
    """
    if pair := given(config):
        return pair
    path = state / "tls" / "self-signed.pem"
    pem = named_files.read("The self-signed certificate", path) if os.path.lexists(path) else b""
    try:
        facts = _facts(pem, config.hostname)
        fits = facts.covers and facts.public_key == _public_key(pem) and datetime.now(UTC) < facts.end - RENEWAL
    except CommandError:
        fits = False
    if not fits:
        pem = _make(config.hostname).encode()
        if keep:
            system.write(path, pem)
        facts = _facts(pem, config.hostname)
    return Pair(pem, pem, (), facts.end - RENEWAL)


def given(config: Config) -> Pair | None:
    """The configured pair; None if none is configured.

    Raises:
        InstallError: see ``ensure``.
    """
    certificate_file, key_file, hostname = config.tls.certificate_file, config.tls.key_file, config.hostname
    if certificate_file is None or key_file is None:
        return None
    now = datetime.now(UTC)
    certificate, key = named_files.all_of(
        lambda named: _read(*named), [("certificate_file", certificate_file), ("key_file", key_file)]
    )
    try:
        facts = _facts(certificate, hostname)
        # an invalid certificate further down would leave sendmail without TLS
        system.run(
            ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-out", "/dev/null"],
            stdin=certificate.decode("ascii", "replace"),
        )
    except CommandError as error:
        where = f"At 'tls.certificate_file': {certificate_file}"
        raise InstallError(
            f"{where} holds something other than certificates: put the certificate and its issuers' in it, all PEM"
        ) from error
    try:
        public_key = _public_key(key)
    except CommandError as error:
        raise InstallError(f"At 'tls.key_file': {key_file} is not a private key (PEM) without a passphrase") from error
    if facts.public_key != public_key:
        raise InstallError(f"At 'tls.key_file': {key_file} is not the key of the certificate in {certificate_file}")
    if not facts.begin <= now < facts.end:
        when = f"expired on {facts.end:%Y-%m-%d}" if now >= facts.end else f"is valid from {facts.begin:%Y-%m-%d} on"
        raise InstallError(f"At 'tls.certificate_file': {certificate_file} {when}: renew it")
    warnings = []
    due = facts.end - WARNING
    if now >= due:
        warnings.append(f"At 'tls.certificate_file': {certificate_file} expires on {facts.end:%Y-%m-%d}: renew it")
        due = facts.end
    if not facts.covers:
        warnings.append(
            f"At 'tls.certificate_file': {certificate_file} is not for {hostname}: clients that verify it will not send"
        )
    return Pair(certificate, key, tuple(warnings), due)


def for_client(section: str, certificate_file: Path, key_file: Path) -> bytes:
    """A client certificate, its issuers' and its key as one PEM text, checked; ``section`` is their configuration key.

    Raises:
        InstallError: they can't be read or parsed, or don't belong together.
    """
    named = [("certificate_file", certificate_file), ("key_file", key_file)]
    certificate, key = named_files.all_of(lambda each: _read(*each, section=section), named)
    try:
        wanted = system.run(["openssl", "x509", "-noout", "-pubkey"], stdin=certificate.decode("ascii", "replace"))
    except CommandError as error:
        where = f"At '{section}.certificate_file': {certificate_file}"
        raise InstallError(
            f"{where} holds no certificate: put the certificate and its issuers' in it, all PEM"
        ) from error
    try:
        found = _public_key(key)
    except CommandError as error:
        where = f"At '{section}.key_file': {key_file}"
        raise InstallError(f"{where} is not a private key (PEM) without a passphrase") from error
    if found != wanted:
        where = f"At '{section}.key_file': {key_file}"
        raise InstallError(f"{where} is not the key of the certificate in {certificate_file}")
    return certificate.rstrip() + b"\n" + key


def _read(key: str, path: Path, section: str = "tls") -> bytes:
    at = f"At '{section}.{key}'"
    data = named_files.read(at, path)
    if not data.strip():
        raise InstallError(f"{at}: {path} is empty: put {'the key' if key == 'key_file' else 'it'} (PEM) in")
    return data


def _facts(pem: bytes, hostname: str) -> _Facts:
    """The facts of the first certificate in a PEM text.

    Raises:
        CommandError: the text has none.
    """
    # also exits non-zero if the certificate is for another name
    _, text, error = system.capture(
        ["openssl", "x509", "-noout", "-pubkey", "-dates", "-dateopt", "iso_8601", "-checkhost", hostname],
        stdin=pem.decode("ascii", "replace"),
    )
    begin, end = (re.search(rf"^{name}={_DATE}", text, re.MULTILINE) for name in ("notBefore", "notAfter"))
    if begin is None or end is None:
        raise CommandError(f"openssl failed: {error.strip()}")
    return _Facts(
        public_key=text.partition("notBefore=")[0],
        begin=datetime.fromisoformat(f"{begin[1]}+00:00"),
        end=datetime.fromisoformat(f"{end[1]}+00:00"),
        covers="does match certificate" in text,
    )


def _public_key(pem: bytes) -> str:
    # an empty passphrase, so that openssl never prompts for one
    return system.run(["openssl", "pkey", "-passin", "pass:", "-pubout"], stdin=pem.decode("ascii", "replace"))


def _make(hostname: str) -> str:
    """A key (P-256) and its self-signed certificate, one PEM text."""
    key = system.run(["openssl", "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    subject = f"/CN={hostname[:64]}"  # RFC 5280, ub-common-name; clients read the alternative name
    certificate = system.run(
        [
            *("openssl", "req", "-quiet", "-x509", "-key", "/dev/stdin", "-days", str(LIFE.days)),
            *("-subj", subject, "-addext", f"subjectAltName=DNS:{hostname}"),
        ],
        stdin=key,
    )
    return key + certificate
