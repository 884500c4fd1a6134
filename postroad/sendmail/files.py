"""The configuration as files: values in, texts out, nothing read or written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2

from postroad.config.model import Config, User
from postroad.config.values import format_duration
from postroad.runtime import handover, refusals, signing, uplink
from postroad.runtime.front import AGAIN, SPLIT
from postroad.runtime.paths import BRAKED, RUN, SUPPRESSED, TEMPLATES
from postroad.secrets.keys import SigningKey
from postroad.sendmail import listeners, m4, networks, outbound

IDLE_MARGIN = timedelta(seconds=5)


@dataclass(frozen=True)
class RenderedFile:
    """One file: its path below the generation's folder, and its text."""

    path: str
    text: str


@dataclass(frozen=True)
class _Parts:
    """A mail address in two."""

    local: str
    domain: str

    @classmethod
    def of(cls, address: str | None) -> "_Parts | None":
        return cls(*address.rsplit("@", 1)) if address else None


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
    config: Config,
    keys: Sequence[SigningKey],
    around: networks.Surroundings,
    *,
    base: Path,
    run: Path = RUN,
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
    rewrites_envelope = bool(config.rewrite.changes_addresses or config.rewrite.sender)
    trust_gateway = config.clients.trust_gateway
    untrusted = [] if trust_gateway else [networks.access_key(address) for address in around.fronts]
    context = {
        "config": config,
        "base": str(base),
        "run": str(run),
        "suppressed": str(SUPPRESSED),
        "braked": str(BRAKED),
        "refusals": refusals,
        "around": around,
        "smarthosts": outbound.smarthosts(config.delivery),
        "uplink_port": uplink.PORT,
        "routes": outbound.routes(config.delivery),
        "shaped": outbound.shaped(config.delivery),
        "bound": outbound.bound(config.delivery),
        "ipv4_alone": outbound.mx_by_ipv4_alone(config.delivery, reaches_ipv6=around.reaches_ipv6),
        "splits": outbound.splits(config),
        "split_door": SPLIT,
        "again_door": AGAIN,
        "strict": config.delivery.tls.policy != "opportunistic"
        or bool(config.delivery.tls.domains)
        or config.delivery.tls.mta_sts,
        "keeps_connections": outbound.keeps_connections(config.delivery.tls),
        "tls_policies": outbound.policies(config.delivery.tls),
        # the front is the first to notice, and says so
        "idle": format_duration(config.limits.idle + IDLE_MARGIN),
        "warn_after": format_duration(queue.warn_after) if queue.warn_after else "",
        "give_up_after": format_duration(queue.give_up_after),
        "hostname_sends": config.covers(config.hostname),
        "rewrites_envelope": rewrites_envelope,
        "as_it_is": _mailer_fields(rewrites_envelope),
        # mail that may leave with a return address; a smarthost's provider only takes senders that it knows
        "as_returned": _mailer_fields(rewrites_envelope, "Return" if config.returns.domain else ""),
        "one_sender": _Parts.of(config.rewrite.sender),
        "redirect_to": _Parts.of(config.recipients.redirect_to),
        "daemon_options": listeners.daemon_options(config, around),
        "users": [_rights(user, config) for user in config.clients.users],
        # networks may overlap, and makemap takes each key once; a gateway and an address of our own are none of theirs,
        # even where one names them
        "relay_keys": list(
            dict.fromkeys(
                key
                for network in networks.trusted(config.clients.networks, around, gateways=trust_gateway)
                for key in networks.access_keys(network)
                if key not in untrusted
            )
        ),
        "untrusted": untrusted,
    }
    paths = ["sendmail.mc", "access", "local-host-names", "sender-domains", "sender-parents", "service.switch"]
    if config.recipients.allow:
        paths += ["allowed-domains", "allowed-addresses"]
    if config.rewrite.masquerade_domains:
        paths.append("masquerade-domains")
    if config.rewrite.addresses:
        paths.append("rewrite")
    return [
        *(RenderedFile(path, _environment.get_template(f"{path}.j2").render(context)) for path in paths),
        RenderedFile(signing.FILE, handover.dumps(signer(config, keys))),
    ]


def _mailer_fields(rewrites_envelope: bool, sender: str = "") -> str:
    """Of a mailer: rulesets for the envelope and none for the header, line ends, lines of any length."""
    sender = sender or ("From" if rewrites_envelope else "FromSMTP")
    return f"S=Env{sender}/AsItIs, R=Env{'To' if rewrites_envelope else 'ToSMTP'}/AsItIs, E=\\r\\n, L=0"


def signer(config: Config, keys: Sequence[SigningKey]) -> signing.Settings:
    """What the signer is told."""
    rewrite = config.rewrite
    rights = dict(_rights(user, config) for user in config.clients.users)
    return signing.Settings(
        hostname=config.hostname,
        domains=tuple(signing.SenderDomain(domain.name, domain.subdomains) for domain in config.domains),
        users={
            name: tuple(signing.SenderDomain(*domain) for domain in domains or [("*", False)])
            for name, domains in rights.items()
        },
        rewriting=signing.Rewriting(
            add_domain=rewrite.add_domain or "",
            masquerade_domains=rewrite.masquerade_domains,
            masquerade_as=rewrite.masquerade_as or "",
            addresses=dict(rewrite.addresses),
            sender=rewrite.sender or "",
        ),
        keys=tuple(signing.DkimKey(key.domain, key.subdomains, key.selector, f"dkim/{key.file}") for key in keys),
    )


def _rights(user: User, config: Config) -> tuple[str, list[tuple[str, bool]]]:
    """A user's name without our own realm, and the sender domains, each with whether those below it count too.

    No domains stand for any.
    """
    name, realm = user.account(config.hostname)
    return name if realm == config.hostname else f"{name}@{realm}", config.senders(user.domains)
