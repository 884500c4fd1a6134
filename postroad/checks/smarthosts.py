"""Sessions with the smarthosts in which nothing is sent: for ``postroad smarthost check`` and the doctor."""

import asyncio
import os

from postroad import system
from postroad.config.model import Config
from postroad.config.providers import PRESETS
from postroad.runtime.paths import RUN
from postroad.sendmail import outbound
from postroad.uplink.opening import accesses
from postroad.uplink.probe import Probe, probe


def probes(config: Config, recipient: str | None = None, within: float | None = None) -> list[Probe]:
    """A session with each server of each smarthost, side by side, with the passwords as they are now.

    Args:
        config: the configuration.
        recipient: who is named in RCPT; None: the postmaster of the first domain.
        within: seconds until a session is open; None: those that the uplink takes.

    Raises:
        InstallError: a password, certificate or key can't be read.
    """
    secrets = outbound.credentials(config)
    settings = outbound.uplink_settings(config, secrets)
    domain = next((each.name for each in config.named_domains), config.hostname)
    sender = config.rewrite.sender or f"postmaster@{domain}"
    aside = RUN / f"smarthosts-{os.getpid()}"
    try:
        for server, found in secrets.items():
            if found.certificate:
                system.write(aside / outbound.certificate_name(server), found.certificate)
        access = accesses(str(config.delivery.tls.ca_file or ""))

        async def all_of_them() -> list[Probe]:
            return await asyncio.gather(
                *(
                    probe(
                        server,
                        settings.hostname,
                        access(server, str(aside / server.certificate) if server.certificate else ""),
                        sender=sender,
                        recipient=recipient or f"postmaster@{domain}",
                        within=within,
                    )
                    for server in settings.servers
                )
            )

        return asyncio.run(all_of_them())
    finally:
        if aside.exists():
            system.remove(aside)


SES_SECRET_KEY = 40
"""Characters of an AWS secret access key. SMTP passwords are made of it, and have 44
(https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html)."""


def hint(found: Probe) -> str:
    """What is known of a provider's credentials where it refuses ours; empty: nothing."""
    server = found.server
    if not found.reason:
        return ""
    if server.host.endswith(".amazonaws.com") and len(server.password) == SES_SECRET_KEY:
        return "this looks like a secret access key: Amazon SES takes the SMTP password that is made of it"
    for preset in PRESETS.values():
        if server.host not in {preset.host, *(host for _, host in preset.regions)} or not server.username:
            continue
        if preset.username and server.username != preset.username:
            return f"all customers of {server.host} log in as {preset.username}; the password tells them apart"
        if preset.by_address and "@" not in server.username:
            return f"user names at {server.host} are mail addresses"
    return ""
