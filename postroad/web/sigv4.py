"""AWS Signature Version 4: who signed a request, checked on the octets that came.

The algorithm: AWS General Reference, "Create a signed AWS API request". Only the Authorization header is read: signed
URLs, streamed payloads and session tokens are refused.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=5)
"""How far the client's clock may be from ours: as at SES."""
LONGEST = 2000
"""Octets of the Authorization header."""
CREDENTIAL = re.compile(
    r"(?P<id>[A-Za-z0-9_-]{1,128})/(?P<day>\d{8})/(?P<region>[a-z0-9-]{1,32})/(?P<service>[a-z0-9-]{1,32})/aws4_request"
)
SIGNED = re.compile(r"[a-z0-9!#$&^_.+-]+(?:;[a-z0-9!#$&^_.+-]+)*")
SIGNATURE = re.compile(r"[0-9a-f]{64}")
MOMENT = "%Y%m%dT%H%M%SZ"
Headers = Sequence[tuple[bytes, bytes]]
"""Header fields as they came, their names in lower case."""


class SignatureError(Exception):
    """The request is not signed by a known key; ``code`` is AWS's name of the error."""

    def __init__(self, code: str, text: str) -> None:
        """With the text that the client gets."""
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Claim:
    """What the Authorization header says; nothing of it is proven yet.

    Attributes:
        access_key: the access key ID.
        scope: day, region, service and terminator, with slashes between.
        moment: when it was signed, as ``X-Amz-Date`` has it.
        signed: the names of the header fields that are signed, in order.
        signature: in hexadecimal.
    """

    access_key: str
    scope: str
    moment: str
    signed: tuple[str, ...]
    signature: str


def claim(headers: Headers, service: str, now: datetime | None = None) -> Claim:
    """Read the Authorization header, and see that all that has to be signed is said to be.

    Raises:
        SignatureError: it is missing or malformed, for another service, or of another time.
    """
    values = _joined(headers)
    if "x-amz-security-token" in values:
        raise SignatureError("UnrecognizedClientException", "Session tokens are not supported: use a permanent key.")
    given = [value for name, value in headers if name == b"authorization"]
    if not given:
        raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")
    text = given[0].decode("latin-1")
    parts = _parameters(text) if len(given) == 1 and len(text) <= LONGEST else {}
    credential = CREDENTIAL.fullmatch(parts.get("Credential", ""))
    signed, signature = parts.get("SignedHeaders", ""), parts.get("Signature", "")
    if not (credential and SIGNED.fullmatch(signed) and SIGNATURE.fullmatch(signature)):
        raise SignatureError(
            "IncompleteSignatureException",
            f"Authorization has to be `{ALGORITHM} Credential=..., SignedHeaders=..., Signature=...`.",
        )
    names = tuple(signed.split(";"))
    needed = {"host", "x-amz-date", *(name for name in values if name.startswith("x-amz-"))}
    if list(names) != sorted(set(names)) or not needed <= set(names) or not set(names) <= set(values):
        raise SignatureError(
            "InvalidSignatureException", "SignedHeaders must name host, x-amz-date and all X-Amz-* header fields."
        )
    moment = _moment(values["x-amz-date"], now or datetime.now(UTC))
    if credential["day"] != moment[:8]:
        raise SignatureError("InvalidSignatureException", "The credential's date is not that of X-Amz-Date.")
    if credential["service"] != service:
        raise SignatureError(
            "InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'."
        )
    scope = "/".join((credential["day"], credential["region"], service, "aws4_request"))
    return Claim(credential["id"], scope, moment, names, signature)


@dataclass(frozen=True)
class SignedRequest:
    """A request as it came.

    Attributes:
        method: HTTP's.
        path: with its percent signs.
        query: likewise, what follows the ``?``.
        headers: all of them.
        body: its octets.
    """

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes


def verify(found: Claim, secret: str, request: SignedRequest) -> None:
    """See that the owner of the secret access key signed this request.

    Raises:
        SignatureError: somebody else did, or it was changed on the way.
    """
    digest = hashlib.sha256(request.body).hexdigest()
    values = _joined(request.headers)
    pairs = sorted(each.partition("=")[::2] for each in request.query.decode("latin-1").split("&") if each)
    canonical = "\n".join((
        request.method,
        quote(request.path, safe="/~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{values[name]}" for name in found.signed),
        "",
        ";".join(found.signed),
        digest,
    ))  # fmt: skip
    sound = hmac.compare_digest(_signature(secret, found, canonical), found.signature)
    if not sound or values.get("x-amz-content-sha256", digest) != digest:
        raise SignatureError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your secret access"
            " key. A proxy between has to leave Host and path as they are.",
        )


def _signature(secret: str, found: Claim, canonical: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in found.scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    told = "\n".join((ALGORITHM, found.moment, found.scope, hashlib.sha256(canonical.encode("latin-1")).hexdigest()))
    return hmac.digest(key, told.encode(), hashlib.sha256).hex()


def _parameters(text: str) -> Mapping[str, str]:
    """``Credential``, ``SignedHeaders`` and ``Signature``, each once; nothing where there is anything else."""
    scheme, _, rest = text.partition(" ")
    pairs = [part.strip(" ").partition("=")[::2] for part in rest.split(",")]
    if scheme != ALGORITHM or sorted(name for name, _ in pairs) != ["Credential", "Signature", "SignedHeaders"]:
        return {}
    return dict(pairs)


def _joined(headers: Headers) -> dict[str, str]:
    """The values by name, as they are signed: of several fields with commas between, white space trimmed."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), []).append(" ".join(value.decode("latin-1").split()))
    return {name: ",".join(values) for name, values in found.items()}


def _moment(text: str, now: datetime) -> str:
    try:
        moment = datetime.strptime(text, MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("IncompleteSignatureException", "X-Amz-Date must be such as 20261126T100000Z.") from None
    if text != moment.strftime(MOMENT):
        raise SignatureError("IncompleteSignatureException", "X-Amz-Date must be such as 20261126T100000Z.")
    if not -SKEW <= moment - now <= SKEW:
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature expired or not yet current: {text} is more than 5 minutes from {now.strftime(MOMENT)}."
            " Set the client's clock.",
        )
    return text
