"""The configuration as files: values in, texts out, nothing read or written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from postroad.config.model import Config
from postroad.config.values import format_duration
from postroad.render import m4, networks, outbound
from postroad.render.keys import SigningKey
from postroad.render.paths import RUN

_PACKAGE = Path(__file__).parent.parent
TEMPLATES = next(path for path in (_PACKAGE / "templates", _PACKAGE.parent / "templates") if path.is_dir())


@dataclass(frozen=True)
class RenderedFile:
    """One file: its path below the generation's folder, and its text."""

    path: str
    text: str


class _Safe(str):
    """Text that a filter has made fit for the place where it stands."""

    __slots__ = ()


def _finalize(value: Any) -> str:
    # every interpolation names the filter for its place; a forgotten one fails the first rendering, not the hundredth
    if not isinstance(value, _Safe):
        raise TypeError(f"an interpolation without a filter: {value!r}")
    return value


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - not HTML: _finalize refuses what no filter has quoted
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    finalize=_finalize,
)
_environment.filters.update(
    q=lambda value: _Safe(m4.quote(value)),
    word=lambda value: _Safe(m4.word(value)),
    raw=_Safe,
)


def files(
    config: Config, keys: Sequence[SigningKey], around: networks.Surroundings, *, base: Path, run: Path = RUN
) -> list[RenderedFile]:
    """Render every file of a configuration.

    Args:
        config: what is wanted.
        keys: the DKIM keys, one for each signed domain; none where DKIM is off.
        around: the networks this host is in, for ``clients.networks: [auto]``.
        base: the folder that the files will be in; their own texts name each other by it.
        run: the folder for sockets and process ids.

    Raises:
        InstallError: a value can't be written into its file (the configuration should have refused it).
    """
    queue = config.delivery.queue
    context = {
        "config": config,
        "base": str(base),
        "run": str(run),
        "around": around,
        "keys": keys,
        "ways": outbound.ways(config.delivery),
        "routes": outbound.routes(config.delivery),
        "strict": config.delivery.tls.policy != "opportunistic" or bool(config.delivery.tls.domains),
        "tls_policies": outbound.policies(config.delivery.tls),
        "warn_after": format_duration(queue.warn_after) if queue.warn_after else "",
        "give_up_after": format_duration(queue.give_up_after),
        "hostname_sends": any(
            config.hostname == domain.name or (domain.subdomains and config.hostname.endswith(f".{domain.name}"))
            for domain in config.named_domains
        ),
        "relay_keys": [
            key
            for network in networks.trusted(config.clients.networks, around)
            for key in networks.access_keys(network)
        ],
        "untrusted": []
        if config.clients.trust_gateway
        else [networks.access_key(router) for router in around.gateways],
    }
    paths = ["sendmail.mc", "access", "local-host-names", "sender-domains", "sender-parents", "service.switch"]
    if keys:
        paths += ["opendkim.conf", "dkim/key-table", "dkim/signing-table", "dkim/internal-hosts", "dkim/setup.lua"]
    return [
        RenderedFile(path, _environment.get_template(f"{path.rpartition('/')[2]}.j2").render(context)) for path in paths
    ]
