"""Writes the settings of our own processes; pure.

The signer's are in ``sendmail/files.py``, with the other texts about addresses.
"""

import base64
from datetime import date

from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.config.web import Oidc, Web
from postroad.install import environment
from postroad.install.material import Material
from postroad.runtime import front, peering, recording, returning, shaping, web
from postroad.runtime.paths import SENDMAIL
from postroad.runtime.signing import SenderDomain
from postroad.secrets import api_keys, users
from postroad.sendmail import networks, outbound
from postroad.sendmail.queue import GROUP


def of_front(config: Config, around: networks.Surroundings) -> front.Settings:
    """The front's settings."""
    return front.Settings(
        hostname=config.hostname,
        inet6=around.has_ipv6,
        # a route with limits has a queue of its own, and a message for two routes is two messages
        early=not outbound.shaped(config.delivery),
        transparent=bool(config.sendmail.features or config.sendmail.local_config.strip()),
        connections_per_client=config.limits.connections_per_client,
        connections_per_minute=config.limits.connections_per_minute,
        concurrency=config.delivery.concurrency,
        # a connection that one message has opened is from that message's address
        reuses=not outbound.bound(config.delivery),
        idle=config.limits.idle.total_seconds(),
        starttls=config.tls.on_smtp,
        split=outbound.splits(config),
        retry=config.delivery.queue.retry.total_seconds(),
        tell=_tell(config),
        adaptive=config.delivery.adaptive,
        sendmail=SENDMAIL,
        env=environment.of_sendmail(config),
    )


def of_shaper(config: Config) -> shaping.Settings:
    """The shaper's settings."""
    queue = config.delivery.queue
    return shaping.Settings(
        prefix=GROUP,
        retry=queue.retry.total_seconds(),
        tell=_tell(config),
        by_domain=not config.rewrite.changes_addresses,
        shared=config.shares_limits,
        routes=tuple(_route(shape, config) for shape in outbound.shaped(config.delivery)),
        sendmail=SENDMAIL,
        env=environment.of_sendmail(config),
    )


def _tell(config: Config) -> tuple[float, ...]:
    """Seconds after which a sender is told that a message waits, and after which it comes back."""
    queue = config.delivery.queue
    return tuple(limit.total_seconds() for limit in (queue.warn_after, queue.give_up_after) if limit)


def of_returns(config: Config) -> returning.Settings | None:
    """The settings of ``returns``, and the signer's of return addresses; None where it is off."""
    returns, unsubscribe = config.returns, config.returns.unsubscribe
    if returns.domain is None:
        return None
    link = None
    if unsubscribe.domains and unsubscribe.url:
        link = returning.Unsubscribing(unsubscribe.domains, unsubscribe.url, *host_and_port(unsubscribe.listen))
    forwarding = returning.Forwarding(returns.forward_to, config.postmaster) if returns.forward_to else None
    return returning.Settings(config.hostname, returns.domain, returns.senders, link, forwarding)


def _route(shape: outbound.RouteGroup, config: Config) -> shaping.ShapedRoute:
    warm_up = shape.route.warm_up
    return shaping.ShapedRoute(
        group=shape.group,
        one_way=shape.smarthost is not None or config.recipients.redirect_to is not None,
        concurrency=shape.route.concurrency,
        rate=shape.route.rate,
        since=(warm_up.since - date(1970, 1, 1)).days if warm_up else 0,
        daily=warm_up.daily if warm_up else (),
    )


def of_peers(config: Config, material: Material) -> peering.Settings:
    """The settings of what takes messages from other relays; secret."""
    return peering.Settings(secret=material.peers_secret, retry=config.delivery.queue.retry.total_seconds())


def of_recorder(config: Config, material: Material) -> recording.Settings:
    """The recorder's settings, and those of the commands that read events; secret."""
    suppression, brake = config.suppression, config.events.brake
    url = config.events.store
    return recording.Settings(
        hostname=config.hostname,
        store=recording.DatabaseServer(url, material.store_password) if url else None,
        keep=config.events.keep.total_seconds(),
        max_size=config.events.max_size,
        http=host_and_port(config.http.listen) if config.http.listen else None,
        suppression=recording.SuppressionRules(
            keep=suppression.keep.total_seconds() if config.suppresses else None,
            scope=suppression.scope,
            never=tuple(entry.lower() for entry in suppression.never),
            soft_count=suppression.soft.count,
            soft_within=suppression.soft.within.total_seconds(),
        ),
        bounces=recording.BrakeRules(
            brake=brake.bounce_rate,
            warn=brake.warn_rate,
            window=min(brake.window, config.events.keep).total_seconds(),
            minimum=brake.minimum,
        ),
        complaints=recording.BrakeRules(
            brake=brake.complaint_rate,
            warn=brake.complaint_warn_rate,
            window=min(brake.complaint_window, config.events.keep).total_seconds(),
            minimum=brake.complaint_minimum,
        ),
        webhooks=material.webhooks,
        divides=config.shares_limits and bool(outbound.shaped(config.delivery)),
    )


def of_web(section: Web, config: Config, material: Material) -> web.Settings:
    """The settings of the HTTP API; secret."""
    host, port = host_and_port(section.listen)
    known = {user.name: user for user in config.clients.users}
    keys = []
    for key, text in zip(section.keys, material.api_keys, strict=True):
        user = known[key.user] if key.user else None
        names = user.domains if user else key.domains
        sends = user is not None and "send" in key.rights
        keys.append(
            web.ApiKey(
                name=key.name,
                digest=api_keys.digest(text),
                rights=key.rights,
                domains=tuple(SenderDomain(*each) for each in config.senders(names)),
                login="@".join(user.account(config.hostname)) if user and sends else "",
                password=base64.b64encode(material.passwords[users.record_name(user, config)]).decode()
                if user and sends
                else "",
                secret=text if "ses" in section.vendors else "",
            )
        )
    return web.Settings(
        hostname=config.hostname,
        host=host,
        port=port,
        tls=section.tls,
        proxies=tuple(map(str, section.proxies)),
        keys=tuple(keys),
        submission=config.listeners.submission or config.listeners.submissions or 0,
        implicit=not config.listeners.submission,
        message_size=config.limits.message_size,
        password=material.console_passwords[0],
        viewer_password=material.console_passwords[1],
        oidc=_of_oidc(section.oidc, *material.oidc) if section.oidc else None,
        vendors=section.vendors,
        redact=config.log.redact,
        retry=config.delivery.queue.retry.total_seconds(),
        waiting_reasons=outbound.waiting_reasons(config.delivery),
    )


def _of_oidc(section: Oidc, secret: str, authorities: str) -> web.Oidc:
    return web.Oidc(
        issuer=section.issuer,
        url=section.url,
        client_id=section.client_id,
        claim=section.claim,
        operators=section.operators,
        viewers=section.viewers,
        ca=authorities,
        client_secret=secret,
    )
