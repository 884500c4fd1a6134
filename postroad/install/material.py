"""What a configuration refers to: keys, certificates, passwords; read, checked, and made where it is ours to make.

A start and ``postroad check`` both come through here, so they find the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from postroad import system
from postroad.config.delivery import SmarthostServer
from postroad.config.model import Config
from postroad.runtime import recording
from postroad.runtime.paths import STATE
from postroad.secrets import api_keys, certificate, peers, returns, rotation, users, webhooks
from postroad.secrets import files as named_files
from postroad.secrets import keys as dkim
from postroad.sendmail import outbound


@dataclass(frozen=True)
class Material:
    """What was found.

    Attributes:
        watched: the files that were read, with their status: a change to one calls for a new generation.
        keys: the DKIM keys.
        pems: their content by their ``file``.
        pair: the certificate and its key.
        passwords: SASL's records.
        credentials: what the smarthosts are told.
        authorities: certificates of authorities to trust besides the system's; may be empty.
        webhooks: the webhooks as the recorder takes them.
        store_password: that of ``events.store``; None: it has none.
        api_keys: ``web.keys``, in their order; secret.
        console_passwords: those of the console, or their hashes: an operator's and a viewer's; empty: there is none.
        oidc: the client's secret of ``web.oidc``, and the certificates of its authorities; likewise.
        peers_secret: what all relays know; None: ``peers.secret_file`` is not set.
        returns_key: signs return addresses; empty where there are none.
    """

    watched: dict[str, str]
    keys: list[dkim.SigningKey]
    pems: dict[str, bytes]
    pair: certificate.Pair
    passwords: dict[bytes, bytes]
    credentials: dict[SmarthostServer, outbound.Secrets]
    authorities: str
    webhooks: tuple[recording.Hook, ...]
    store_password: str | None
    api_keys: tuple[str, ...] = ()
    console_passwords: tuple[str, str] = ("", "")
    oidc: tuple[str, str] = ("", "")
    peers_secret: str | None = None
    returns_key: bytes = b""


def files(config: Config) -> list[Path]:
    """The files that a configuration names."""
    found: list[Path | None] = [user.password_file for user in config.clients.users]
    found += [config.tls.certificate_file, config.tls.key_file]
    found += [domain.dkim.key_file for domain in config.named_domains]
    found += [config.delivery.tls.ca_file, *outbound.secret_files(config.delivery)]
    found += [*webhooks.files(config), config.events.store_password_file, *api_keys.files(config)]
    found += [config.peers.secret_file, config.returns.key_file]
    return [path for path in found if path]


def gather(config: Config, *, keep: bool = True) -> Material:
    """Read and check all of it.

    Args:
        config: what is wanted.
        keep: whether keys and certificates that are missing from the state volume are made there; else others stand
            in for them, and nothing is written.

    Raises:
        InstallError: with everything that is wrong, a line each.
        CommandError: a key can't be made.
    """
    watched = {str(path): system.status(str(path)) for path in files(config)}  # before they are read
    watched |= rotation.watched(config, STATE)
    keys = dkim.wanted(config, STATE)
    password_file = config.events.store_password_file
    parts: Mapping[str, Callable[[], object]] = {
        "pems": partial(dkim.ensure, keys, config.dkim.key_bits, keep=keep),
        "pair": partial(certificate.ensure, config, STATE, keep=keep),
        "passwords": partial(users.database, config),
        "credentials": partial(outbound.credentials, config),
        "authorities": partial(named_files.authorities, config.delivery.tls.ca_file),
        "webhooks": partial(webhooks.settings, config),
        "returns_key": partial(returns.ensure, config, STATE, keep=keep),
        "store_password": lambda: (
            named_files.password("At 'events.store_password_file'", password_file) if password_file else None
        ),
        "api_keys": partial(api_keys.read, config),
        "console_passwords": partial(api_keys.passwords, config),
        "oidc": partial(api_keys.oidc, config),
        "peers_secret": partial(peers.secret, config),
    }
    results = named_files.all_of(lambda part: part(), parts.values())
    return Material(watched=watched, keys=keys, **cast("Any", dict(zip(parts, results, strict=True))))
