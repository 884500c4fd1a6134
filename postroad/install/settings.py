"""Writes the settings of the front, the shaper, the recorder and what takes other relays' messages; pure.

The signer's are in ``sendmail/files.py``, with the other texts about addresses.
"""

from datetime import date

from postroad.config.model import Config
from postroad.config.names import host_and_port
from postroad.install import environment
from postroad.install.material import Material
from postroad.runtime import front, peering, recording, shaping
from postroad.runtime.paths import SENDMAIL
from postroad.sendmail import networks, outbound


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
        reuses=not outbound.judges(config.delivery),
        idle=config.limits.idle.total_seconds(),
        starttls=config.tls.on_smtp,
        split=outbound.splits(config),
        retry=config.delivery.queue.retry.total_seconds(),
        sendmail=SENDMAIL,
        env=environment.of_sendmail(config),
    )


def of_shaper(config: Config) -> shaping.Settings:
    """The shaper's settings."""
    queue = config.delivery.queue
    return shaping.Settings(
        prefix=outbound.GROUP,
        retry=queue.retry.total_seconds(),
        tell=tuple(limit.total_seconds() for limit in (queue.warn_after, queue.give_up_after) if limit),
        by_domain=not config.rewrite.changes_addresses,
        shared=config.shares_limits,
        routes=tuple(_route(shape, config) for shape in outbound.shaped(config.delivery)),
        sendmail=SENDMAIL,
        env=environment.of_sendmail(config),
    )


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
        rates=recording.BounceRates(
            brake=brake.bounce_rate,
            warn=brake.warn_rate,
            window=brake.window.total_seconds(),
            minimum=brake.minimum,
        ),
        webhooks=material.webhooks,
        divides=config.shares_limits and bool(outbound.shaped(config.delivery)),
    )
