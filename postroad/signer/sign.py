"""A DKIM-Signature field (RFC 6376; Ed25519: RFC 8463) over a header as it will leave and the hash of a body."""

import base64
from collections.abc import Sequence

from postroad.signer import canonical
from postroad.signer.keys import PrivateKey

SIGNED = (
    *(b"from", b"sender", b"reply-to", b"subject", b"date", b"message-id", b"to", b"cc", b"in-reply-to", b"references"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding"),
    *(b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id"),
    *(b"list-id", b"list-unsubscribe", b"list-unsubscribe-post"),
)
"""The fields that a signature covers (RFC 6376, section 5.4.1)."""

OVERSIGNED = (
    *(b"from", b"sender", b"reply-to", b"subject", b"to", b"cc"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding"),
)
"""Named once more than there are, so that none can be added on the way (section 8.15). Not those of ``IF_PRESENT``."""

IF_PRESENT = (b"date", b"message-id")
"""Likewise, but only where there is one: sendmail adds what is missing, after the signature was made."""


def signature(
    key: PrivateKey,
    domain: str,
    selector: str,
    headers: Sequence[tuple[bytes, bytes]],
    body_hash: bytes,
    now: float,
    *,
    compact: bool = False,
) -> bytes:
    """The value of a DKIM-Signature field, in lines that end with LF.

    Args:
        key: what to sign with.
        domain: ``d=``.
        selector: ``s=``.
        headers: the fields in their order: name, and value with any white space around it.
        body_hash: of the relaxed body (``canonical.BodyHash``).
        now: ``t=``, in seconds since the epoch.
        compact: without white space, in one line, and with no field but From: named once more than there are.

    Raises:
        SigningError: the key does not sign.
    """
    present: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        present.setdefault(name.lower(), []).append(value)
    names: list[bytes] = []
    data: list[bytes] = []
    for name in SIGNED:
        # the last one first (section 5.4.2)
        for value in reversed(present.get(name, ())):
            names.append(name)
            data.append(canonical.header(name, value))
        if name == b"from" or (not compact and (name in OVERSIGNED or (name in IF_PRESENT and name in present))):
            names.append(name)
    tags = (
        f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={domain}; s={selector};\n\tt={int(now)};"
        f" bh={base64.b64encode(body_hash).decode()};\n\th="
    ).encode()
    value = b" " + tags + b":\n\t ".join(b":".join(names[at : at + 6]) for at in range(0, len(names), 6)) + b";\n\tb="
    if compact:
        value = value.translate(None, b" \t\n")
    data.append(canonical.header(b"dkim-signature", value))
    made = base64.b64encode(key.sign(b"\r\n".join(data)))
    return value + (b"" if compact else b"\n\t ").join(made[at : at + 72] for at in range(0, len(made), 72))
