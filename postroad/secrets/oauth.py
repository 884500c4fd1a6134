"""The OAuth settings of smarthosts, read from the files that the configuration names."""

import hashlib
import json
from pathlib import Path

from postroad.config.delivery import OAuth
from postroad.errors import InstallError
from postroad.runtime import uplink
from postroad.runtime.paths import OAUTH
from postroad.secrets import files as named_files

LONGEST = 8192
"""Octets of a token or a secret."""
GOOGLE = "https://oauth2.googleapis.com/token"
GOOGLE_SCOPE = "https://mail.google.com/"
"""https://developers.google.com/identity/protocols/oauth2/service-account"""


def files(oauth: OAuth) -> list[Path | None]:
    """The files that the settings name."""
    return [oauth.client_secret_file, oauth.refresh_token_file, oauth.service_account_file]


def read(key: str, username: str, oauth: OAuth) -> uplink.OAuth:
    """The OAuth settings for the uplink; secret.

    Args:
        key: the configuration key of ``oauth``.
        username: the user whose mailbox sends.
        oauth: the configuration.

    Raises:
        InstallError: files can't be read or hold something else, one line each.
    """
    named = [("client_secret_file", oauth.client_secret_file), ("refresh_token_file", oauth.refresh_token_file)]
    secret, refresh = named_files.all_of(lambda each: _word(f"At '{key}.{each[0]}'", each[1]), named)
    token_url, client_id, private_key = oauth.token_url or GOOGLE, oauth.client_id or "", ""
    if oauth.service_account_file:
        at = f"At '{key}.service_account_file'"
        account = _service_account(at, oauth.service_account_file)
        client_id, private_key = account["client_email"], account["private_key"]
        token_url = oauth.token_url or account.get("token_uri", GOOGLE)
        if not token_url.startswith("https://"):
            raise InstallError(f"{at}: its token_uri does not begin with https://")
    mark = hashlib.sha256(f"{token_url} {client_id} {username}".encode()).hexdigest()[:16]
    return uplink.OAuth(
        grant=oauth.grant,
        token_url=token_url,
        device_url=oauth.device_url or "",
        client_id=client_id,
        client_secret=secret,
        scope=oauth.scope or (GOOGLE_SCOPE if private_key else ""),
        refresh_token=refresh,
        private_key=private_key,
        subject=username if private_key else "",
        state=str(OAUTH / f"{mark}.json"),
    )


def _word(at: str, path: Path | None) -> str:
    if path is None:
        return ""
    data = named_files.read(at, path, LONGEST + 1)
    text = data.decode("ascii", "replace").strip()
    if not text:
        raise InstallError(f"{at}: {path} is empty: put it in, on one line")
    if len(data) > LONGEST or not text.isprintable() or " " in text or not text.isascii():
        raise InstallError(f"{at}: {path} holds something else: keep it alone in there, on one line")
    return text


def _service_account(at: str, path: Path) -> dict[str, str]:
    try:
        found = json.loads(named_files.read(at, path))
    except ValueError as error:
        raise InstallError(f"{at}: {path} is not JSON: put in the key file as Google provides it") from error
    fields = found if isinstance(found, dict) else {}
    if not all(isinstance(fields.get(name), str) and fields[name] for name in ("client_email", "private_key")):
        raise InstallError(f"{at}: {path} has no client_email and private_key: it is not a service account's key")
    return {name: value for name, value in fields.items() if isinstance(value, str)}
