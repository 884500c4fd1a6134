"""A pretend internet on a Docker network of its own: a DNS server, receivers, and relays whose records are published.

with Internet("example.net") as internet:
    with internet.relay({"hostname": "mail.example.com", "domains": ["example.com"]}) as relay:
        ...  # send to relay.host, relay.port
    (message,) = internet.inbox("you@example.net")
    assert message.verdict("dkim") == message.verdict("spf") == "pass"

How a receiver treats a message is chosen by its recipient: docs/testing.md has the table.
"""

import contextlib
import ipaddress
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import docker
from docker.errors import NotFound
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

from postroad.config.model import Config
from postroad.testing.host import Dns, Host, Mx
from postroad.testing.received import ReceivedMessage
from postroad.testing.records import IPNetwork, record_set, reverse_zone, version
from postroad.testing.relay import PostroadContainer

LABEL = "postroad.test"  # its value here is the Internet's name

HostT = TypeVar("HostT", bound=Host)


class Internet:
    """The network and what is on it, from ``with`` to its end."""

    def __init__(
        self,
        *domains: str,
        image: str = "postroad-internet:latest",
        name: str | None = None,
        ipv6: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare it.

        Args:
            domains: whose mail its first receiver takes, as ``mx.`` and the first of them; without any ``example.net``.
                More receivers come by ``add_mx``.
            image: the tag of the image that ``internet/`` makes.
            name: the network's name; what an earlier Internet of that name left behind is removed first.
            ipv6: the network has IPv6, too.
            labels: more labels for all that is made in Docker.
        """
        self.network = name or f"postroad-internet-{secrets.token_hex(4)}"
        self._domains = domains or ("example.net",)
        self._image = image
        self._ipv6 = ipv6
        self._labels = {LABEL: self.network, **(labels or {})}
        self._client = docker.from_env()
        self._messages: list[ReceivedMessage] = []
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        try:
            self.remove()
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything and let go of the Docker client."""
        try:
            self.remove()
        finally:
            self._client.close()

    def remove(self) -> None:
        """Remove what exists of it: its containers, the network (others are disconnected), the mail."""
        for container in self._client.containers.list(all=True, filters={"label": f"{LABEL}={self.network}"}):
            container.remove(force=True)
        with contextlib.suppress(NotFound):
            network = self._client.networks.get(self.network)
            for container in network.containers:
                network.disconnect(container, force=True)
            network.remove()
        with contextlib.suppress(NotFound):
            self._client.volumes.get(f"{self.network}-mail").remove()

    def _start(self) -> None:
        self._client.volumes.create(f"{self.network}-mail", labels=self._labels)
        self._subnets = self._make_network()
        self._numbers = count(2)  # the gateway is 1
        self.dns = self._add_host(Dns)
        self.add_zone(*map(reverse_zone, self._subnets))
        self.mx = self.add_mx(*self._domains)

    def _make_network(self) -> list[IPNetwork]:
        # Docker grants fixed addresses only in a subnet that was asked for: let it pick a free one, then ask
        # for that. Others get theirs from the upper half: none takes over the address of a stopped host.
        probe = self._client.networks.create(self.network)
        probe.reload()
        subnets: list[IPNetwork] = [ipaddress.ip_network(probe.attrs["IPAM"]["Config"][0]["Subnet"])]
        probe.remove()
        if self._ipv6:
            # /112, since Docker before 28 can't take a range out of a /64
            subnets.append(ipaddress.IPv6Network((0xFD << 120 | secrets.randbits(56) << 64, 112)))
        pools = [IPAMPool(str(net), str([*net.subnets(1)][1]), str(net[1])) for net in subnets]
        self._client.networks.create(
            self.network,
            ipam=IPAMConfig(pool_configs=pools),
            enable_ipv6=self._ipv6,
            labels=self._labels,
        )
        return subnets

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The network's IPv4 subnet; Docker gives addresses from the beginning of its upper half."""
        return ipaddress.IPv4Network(self._subnets[0])

    def _add_host(self, kind: type[HostT], **environment: str) -> HostT:
        number = next(self._numbers)
        addresses = [str(net[number]) for net in self._subnets]
        container = self._client.containers.create(
            self._image,
            [kind.role],
            name=f"{self.network}-{kind.role}-{number}",
            labels=self._labels,
            network=self.network,
            networking_config={
                self.network: EndpointConfig(
                    self._client.api.api_version,
                    ipv4_address=addresses[0],
                    ipv6_address=addresses[-1] if self._ipv6 else None,
                )
            },
            dns=[] if kind is Dns else [self.dns.address],
            environment=environment,
            init=kind is Host,
            volumes=[f"{self.network}-mail:/var/mail/internet"],
        )
        host = kind(container, addresses)
        self.hosts.append(host)
        host.start()
        return host

    def _add_published(self, kind: type[HostT], hostname: str, **environment: str) -> HostT:
        """Start a host and publish it under its name, whose zone is made."""
        host = self._add_host(kind, **environment)
        self.add_zone(hostname.partition(".")[2])
        self.publish_host(hostname, *host.addresses)
        return host

    def add_mx(
        self,
        domain: str,
        *others: str,
        tls: bool | Literal["broken"] = True,
        certificate: str = "good",
        dmarc: bool = False,
    ) -> Mx:
        """Start and publish ``mx.DOMAIN``, which takes the mail of these domains.

        Args:
            domain: the domain.
            *others: more of them.
            tls: offer STARTTLS; ``"broken"``: offer it, and let each handshake fail.
            certificate: good, expired, self-signed, wrong-name or wildcard.
            dmarc: record DMARC's verdict besides those of DKIM and SPF.
        """
        mx = f"mx.{domain}"
        domains = [domain, *others]
        environment = {"MX_HOSTNAME": mx, "MX_DOMAINS": " ".join(domains)}
        environment |= {"MX_TLS": tls if isinstance(tls, str) else "may" if tls else "none"}
        environment |= {"MX_CERTIFICATE": certificate, "MX_DMARC": "yes" if dmarc else ""}
        host = self._add_host(Mx, DNS_SERVER=self.dns.address, **environment)
        self.add_zone(*domains)
        self.publish_host(mx, *host.addresses)
        self.publish_all("MX", {name: [f"10 {mx}"] for name in domains})
        return host

    def receive(self, *domains: str) -> None:
        """Have the first receiver take the mail of these domains as well, and publish that."""
        self.mx.receive(*domains)
        self.add_zone(*domains)
        self.publish_all("MX", {name: [f"10 mx.{self._domains[0]}"] for name in domains})

    @contextlib.contextmanager
    def relay(
        self, config: Mapping[str, Any] | Config, *, image: str = "postroad:latest", **run: Any
    ) -> Iterator[PostroadContainer]:
        """A relay on this network, ready, with its records published, from ``with`` to its end.

        Arguments are ``PostroadContainer``'s.
        """
        run = {"dns": [self.dns.address], "labels": self._labels, **run}
        with PostroadContainer(config, image=image, network=self.network, **run) as relay:
            self.publish_relay(relay)
            yield relay

    def publish_relay(self, relay: PostroadContainer) -> None:
        """Publish the records that ``postroad dns`` prints for a relay on this network.

        Mail to its domains, such as bounces to the app's senders, goes to the first receiver.

        Raises:
            RuntimeError: ``postroad dns`` failed; says what it wrote.
        """
        ask = f"POSTROAD_PUBLIC_IP={relay.address} postroad dns --json"
        # exit code 1: something that it looks for is not in this DNS
        code, text = relay.shell(f"{ask} 2>/tmp/said || {{ code=$?; [ $code = 1 ] || cat /tmp/said; exit $code; }}")
        if code not in {0, 1} or not text:
            raise RuntimeError(f"postroad dns failed (exit {code}): {text}")
        records = json.loads(text)["records"]
        domains = sorted({name for each in records if (name := each["name"].removeprefix("_dmarc.")) != each["name"]})
        self.receive(*domains)
        own = [each for each in records if each["type"] != "MX" or each["name"] not in domains]
        self.dns.run("publish", stdin=json.dumps({"records": own}).encode())

    def add_app(self) -> Host:
        """Start a container that does nothing, with Python, to run senders in."""
        return self._add_host(Host)

    def ca_certificate(self) -> bytes:
        """The certificate (PEM) of the authority that signs those of the MX hosts."""
        return self.dns.run("cat", "/usr/local/share/internet/ca.pem")

    def add_zone(self, *names: str, signed: bool = False) -> None:
        """Be authoritative for these zones, with DNSSEC if ``signed``; those that exist stay as they are."""
        self.dns.run("zone", "sign" if signed else "add", *names)

    def add_zone_with(self, name: str, options: str) -> None:
        """Add a zone with these options, as BIND's configuration has them; one that exists stays as it is."""
        try:
            self.dns.run("rndc", "addzone", name, options)
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise

    def publish(self, name: str, rtype: str, *values: str, ttl: int = 0, at: Dns | None = None) -> None:
        """Make these all the records of this name and type; a TXT value is the plain text, unsplit.

        ``at``: another DNS server than the one of all hosts.

        Raises:
            RuntimeError: the name is in no zone added so far, or nsupdate can't read a value.
        """
        (at or self.dns).run("zone", "update", record_set(name, rtype, *values, ttl=ttl))

    def publish_all(self, rtype: str, records: Mapping[str, Sequence[str]]) -> None:
        """``publish`` for many names, to their values, at once."""
        self._update(*(record_set(name, rtype, *values) for name, values in records.items()))

    def unpublish(self, name: str, rtype: str) -> None:
        """Remove all records of this name and type."""
        self.publish(name, rtype)

    def publish_host(self, hostname: str, *addresses: str) -> None:
        """Publish a host's addresses and, where they are this network's, their reverse names."""
        self._update(*self._host_records(hostname, addresses))

    def publish_sender(
        self,
        hostname: str,
        *addresses: str,
        domains: Sequence[str] = ("sender.example",),
        dkim: Mapping[str, str] | None = None,
    ) -> None:
        """Publish what a relay needs: its host, SPF of its domains and (for bounces) its own, DKIM keys."""
        self.add_zone(*domains, hostname.partition(".")[2])
        spf = " ".join(["v=spf1", *(f"ip{version(address)}:{address}" for address in addresses), "-all"])
        self._update(
            *self._host_records(hostname, addresses),
            *(record_set(name, "TXT", spf) for name in {hostname, *domains}),
            *(record_set(name, "TXT", text) for name, text in (dkim or {}).items()),
        )

    def _host_records(self, hostname: str, addresses: Sequence[str]) -> list[str]:
        own = [ip for ip in map(ipaddress.ip_address, addresses) if any(ip in net for net in self._subnets)]
        return [
            record_set(hostname, "A", *(address for address in addresses if version(address) == 4)),
            record_set(hostname, "AAAA", *(address for address in addresses if version(address) == 6)),
            *(record_set(ip.reverse_pointer, "PTR", f"{hostname}.") for ip in own),
        ]

    def _update(self, *record_sets: str) -> None:
        self.dns.run("zone", "update", "\n".join(record_sets))

    def inbox(self, recipient: str, count: int = 1, timeout: float = 20) -> list[ReceivedMessage]:
        """What receivers took for an address, in order, as soon as there are ``count`` of them; 0: what there is now.

        Raises:
            TimeoutError: there were fewer within ``timeout`` seconds; says what came.
        """
        deadline = time.monotonic() + timeout
        while len(found := self.messages(recipient)) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(found)} for {recipient} within {timeout:g} s, not {count}; {self._summary()}")
            self._fetch(min(left, 10))
        return found

    def messages(self, recipient: str | None = None) -> list[ReceivedMessage]:
        """What arrived so far at any MX, in order; for this envelope recipient only, if given."""
        self._fetch(0)
        return [message for message in self._messages if recipient in {None, message.recipient}]

    def wait_for_message(self, match: str | Callable[[ReceivedMessage], bool], timeout: float = 20) -> ReceivedMessage:
        """The first message with this Message-ID or for which this function is true; it may be there already.

        Raises:
            TimeoutError: it did not come within ``timeout`` seconds; says what did.
        """
        matches = match if callable(match) else lambda message: message.message_id == match
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            for message in self._messages[seen:]:
                if matches(message):
                    return message
            seen = len(self._messages)
            left = deadline - time.monotonic()
            if left <= 0 and seen == len(self.messages()):
                raise TimeoutError(f"no such message within {timeout:g} s; {self._summary()}")
            self._fetch(min(max(left, 0), 10))

    def _fetch(self, seconds: float) -> None:
        # the wait is inside the container: one docker exec however long it takes
        lines = self.dns.run("fetch", str(seconds)).splitlines()
        new = [ReceivedMessage.of(json.loads(line)) for line in lines]
        self._messages += sorted(new, key=lambda message: message.delivered_at)

    def _summary(self) -> str:
        came = [f"{message.message_id} to {message.recipient}" for message in self._messages]
        return f"{len(came)} came: {came[-10:]}"

    @property
    def page(self) -> str:
        """The address of a page with all messages, for hosts that reach Docker's networks."""
        return f"http://{self.dns.address}:8025/"

    def logs(self) -> str:
        """The log of each container under its name."""
        return "\n".join(f"== {host.name}\n{host.logs()}" for host in self.hosts)
