"""The doctor's checks: one file a check, run side by side. They look and say what they see; none changes anything."""

from typing import cast

from postroad.checks import (
    address,
    bimi,
    blocklists,
    clients,
    clock,
    dkim,
    dmarc,
    helo,
    hostname,
    mta_sts,
    mx,
    open_relay,
    port25,
    reports,
    resolvers,
    returns,
    reverse,
    senders,
    smarthost,
    smarthost_session,
    spf,
    starttls,
    store,
    volumes,
)
from postroad.checks.model import Check

CHECKS = cast(
    "tuple[Check, ...]",
    (
        *(resolvers, address, hostname, reverse, helo, spf, smarthost, smarthost_session, dkim, dmarc, mx),
        *(returns, reports),
        *(port25, starttls, mta_sts, bimi, senders),
        *(blocklists, clock, volumes, store, clients, open_relay),
    ),
)
"""All of them, in the order in which they are told."""
