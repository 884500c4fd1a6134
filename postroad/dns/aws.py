"""The request to AWS to lift the limit on port 25 and set the reverse name, made from the configuration and facts.

Pure. AWS asks for an e-mail address, a use case, Elastic IP addresses and reverse names. It answers within a day or
two, and refuses a use case that does not say how unwanted mail is prevented.
"""

from collections.abc import Mapping
from typing import Any

from postroad.config.model import Config
from postroad.config.values import format_duration, format_size
from postroad.dns.egress import Egress
from postroad.dns.instance import Instance
from postroad.dns.providers import AWS_FORM

PURPOSE = "[what your app sends and to whom, such as: receipts and password resets, to our registered customers]"
VOLUME = "[how many]"
REGION = "[region, such as eu-central-1]"
ADDRESS = "[the Elastic IP address that mail leaves from: the NAT gateway's, if there is one]"

SIGNED = " Every message is signed with DKIM by its sender domain; one that can't be signed is not sent."
DESCRIPTION = """\
We send transactional mail from {host} in {region}, {way}with the Elastic IP {addresses}.

Use case: {purpose}. About {per_day} messages a day. No bulk or purchased lists.

How unwanted mail is prevented:
- The mail server (Postroad, {hostname}) {policy}{signed}
- SPF, DKIM and DMARC records are published for the sender domains; forward and reverse DNS agree.
- A message has at most {recipients} recipients and {size}.
- Each delivery, deferral and bounce is recorded with the receiver's answer. Addresses that bounce for good, and \
people who ask for it, get no more mail.
- Mail that is refused for a time is tried again every {retry} and given up after {give_up}.

Please remove the limit on port 25 for this account and region, and set the reverse DNS of {reverse}."""

CLIENTS = "takes mail from [who may use it, and what keeps others out]."
SENDERS = "[What keeps clients from sending as domains that are not yours.]"


def request(
    config: Config, found: Egress, this: Instance, *, use_case: str = "", per_day: int | None = None, region: str = ""
) -> dict[str, Any]:
    """The fields of the form; unknown values are placeholders ``[in brackets]``.

    Returns:
        ``form`` (its URL), ``region``, ``instance_id`` (may be empty), ``elastic_ips`` and ``reverse_dns`` (one name
        for each address), ``behind_nat``, and ``use_case_description``, ready to paste into the form.
    """
    addresses = list(found.addresses) or [ADDRESS]
    fields: dict[str, Any] = {
        "form": AWS_FORM,
        "region": region or this.region or REGION,
        "instance_id": this.id,
        "elastic_ips": addresses,
        "reverse_dns": [config.hostname for _ in addresses],
        "behind_nat": bool(found.addresses) and not set(found.addresses) & {*found.local, this.public_ipv4},
    }
    return {**fields, "use_case_description": _description(config, fields, use_case or PURPOSE, per_day)}


def _description(config: Config, fields: Mapping[str, Any], purpose: str, per_day: int | None) -> str:
    retries = config.delivery.queue
    return DESCRIPTION.format(
        addresses=", ".join(fields["elastic_ips"]),
        give_up=format_duration(retries.give_up_after),
        host=f"instance {fields['instance_id']}" if fields["instance_id"] else "an EC2 instance",
        hostname=config.hostname,
        per_day=per_day or VOLUME,
        purpose=purpose.rstrip("."),
        recipients=config.limits.recipients_per_message,
        region=fields["region"],
        retry=format_duration(retries.retry),
        reverse=", and ".join(f"{address} to {config.hostname}" for address in fields["elastic_ips"]),
        policy=_policy(config),
        signed=SIGNED if config.dkim.enabled else "",
        size=format_size(config.limits.message_size),
        way="through a NAT gateway, " if fields["behind_nat"] else "",
    )


def _policy(config: Config) -> str:
    """The sentence about clients and senders that holds with this configuration."""
    closed = not config.clients.i_know_this_is_an_open_relay
    clients = "takes mail from our own application only and is no open relay." if closed else CLIENTS
    if config.any_domain:
        return f"{clients} {SENDERS}"
    names = ", ".join(domain.name for domain in config.domains)
    return f"{clients} It sends only as {names}: other senders are refused, in the envelope and in the From: header."


def text(fields: Mapping[str, Any]) -> str:
    """The request as text for a person: what to enter in each field."""
    lines = [f"Form (signed in as the account's root user): {fields['form']}"]
    lines += [
        "Read the text before you send it: each sentence must be true of you. `postroad dns` shows the records.",
        "",
    ]
    lines += ["Email address", "  [yours]", "", "Use case description"]
    lines += [f"  {line}".rstrip() for line in fields["use_case_description"].splitlines()]
    for number, (address, name) in enumerate(zip(fields["elastic_ips"], fields["reverse_dns"], strict=True), 1):
        lines += ["", f"Elastic IP address {number}", f"  {address}", f"Reverse DNS record {number}", f"  {name}"]
    return "\n".join(lines)
