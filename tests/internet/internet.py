"""A pretend internet on a Docker network of its own: a DNS server, receiving MX hosts, app containers.

with Internet() as internet:
    # start the relay on internet.network with dns=[internet.dns.address]
    internet.publish_sender("mail.sender.example", relay_ip, dkim={"s1._domainkey.sender.example": txt})
    # send
    message = internet.wait_for_message("<id@sender.example>")
    assert message.verdict("dkim") == message.verdict("spf") == "pass"
"""

import base64
import contextlib
import ipaddress
import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import docker
from docker.errors import NotFound
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

from tests.internet.host import Dns, Hooks, Host, Mx, Policies, Postgres, Proxy, Resolver, Watch
from tests.internet.received import ReceivedMessage

IMAGE = os.environ.get("POSTROAD_INTERNET_IMAGE", "postroad-internet")  # two source trees may share one engine
LABEL = "postroad.test"  # its value here is the Internet's name
TREE = {"postroad.test.tree": str(Path(__file__).parents[2])}
"""On all that tests make, so that ``make down`` removes its own tree's: another's suite may be running."""

HostT = TypeVar("HostT", bound=Host)
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def build_image() -> None:
    """Build the image of all roles; quick when nothing changed."""
    subprocess.run(["docker", "build", "--quiet", "--tag", IMAGE, Path(__file__).parent], check=True)


@dataclass(frozen=True)
class Policy:
    """A domain's MTA-STS policy: enforce, testing or none; patterns of its MX hosts' names; the policy host's certificate.

    The certificate is good, expired, self-signed or wrong-name.
    """

    domain: str
    mode: str
    mx: Sequence[str]
    certificate: str = "good"


class Internet:
    """The network and what is on it, from ``with`` to its end.

    It begins with the zones ``rcpt.example`` and ``sender.example``, one MX that takes the mail of both (so
    that a bounce to the sender arrives as well), and the network's reverse zones. ``name`` is the network's
    name; what an earlier Internet of that name left behind is removed first.
    """

    def __init__(self, name: str | None = None, *, ipv6: bool = False) -> None:
        self.network = name or f"{IMAGE}-{secrets.token_hex(4)}"
        self._ipv6 = ipv6
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
        self._client.volumes.create(f"{self.network}-mail", labels={LABEL: self.network, **TREE})
        self._subnets = self._make_network()
        self._numbers = count(2)  # the gateway is 1
        self.dns = self._add_host(Dns)
        self.add_zone(*map(_reverse_zone, self._subnets))
        self.mx = self.add_mx("rcpt.example", "sender.example")

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
            labels={LABEL: self.network, **TREE},
        )
        return subnets

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The network's IPv4 subnet; Docker gives addresses from the beginning of its upper half."""
        found = self._subnets[0]
        assert isinstance(found, ipaddress.IPv4Network)  # as it was made
        return found

    def _add_host(self, kind: type[HostT], **environment: str) -> HostT:
        number = next(self._numbers)
        addresses = [str(net[number]) for net in self._subnets]
        container = self._client.containers.create(
            IMAGE,
            [kind.role],
            name=f"{self.network}-{kind.role}-{number}",
            labels={LABEL: self.network, **TREE},
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

    def add_mx(self, domain: str, *others: str, tls: bool = True, certificate: str = "good", dmarc: bool = False) -> Mx:
        """Start and publish ``mx.DOMAIN``, which takes the mail of these domains.

        Args:
            domain: the domain; others: more of them.
            tls: offer STARTTLS.
            certificate: good, expired, self-signed, wrong-name or wildcard.
            dmarc: record DMARC's verdict besides those of DKIM and SPF.
        """
        mx = f"mx.{domain}"
        domains = [domain, *others]
        environment = {"MX_HOSTNAME": mx, "MX_DOMAINS": " ".join(domains), "MX_TLS": "may" if tls else "none"}
        environment |= {"MX_CERTIFICATE": certificate, "MX_DMARC": "yes" if dmarc else ""}
        host = self._add_host(Mx, DNS_SERVER=self.dns.address, **environment)
        self.add_zone(*domains)
        self.publish_host(mx, *host.addresses)
        for name in domains:
            self.publish(name, "MX", f"10 {mx}")
        return host

    def add_smarthost(
        self,
        hostname: str,
        *,
        user: str = "",
        mechanisms: str = "PLAIN LOGIN",
        certificate: str = "good",
        tls: bool = True,
        tokens: bool = False,
        client_certificates: bool = False,
    ) -> Mx:
        """Start and publish a server that takes mail for any domain and keeps it; on ports 587 and 465 from those who log in.

        Args:
            hostname: its name.
            user: ``name:password``; without one there are no such ports.
            mechanisms: the SASL mechanisms it offers.
            certificate: good, expired, self-signed, wrong-name or wildcard.
            tls: offer STARTTLS.
            client_certificates: those ports are for clients with a certificate of the authority, and know no AUTH.
            tokens: the user logs in by access tokens (XOAUTH2, OAUTHBEARER), which ``https://HOSTNAME/token`` grants.
        """
        environment = {
            "MX_TOKENS": "yes" if tokens else "",
            "MX_CLIENT_CERTIFICATES": "yes" if client_certificates else "",
            "MX_TLS": "may" if tls else "none",
            "MX_HOSTNAME": hostname,
            "MX_DOMAINS": "static:all",
            "MX_CERTIFICATE": certificate,
        }
        environment |= {"MX_USER": user, "MX_MECHANISMS": mechanisms}
        host = self._add_published(Mx, hostname, DNS_SERVER=self.dns.address, **environment)
        if user:
            host.run("role", "ready", "587")
        if tokens:
            host.run("role", "ready", "443")
        return host

    def add_watch(self, hostname: str, *, behaviour: str = "good") -> Watch:
        """Start and publish an SMTP server that writes down what it is told; ``behaviour`` is port 25's."""
        return self._add_published(Watch, hostname, MX_HOSTNAME=hostname, MX_BEHAVIOUR=behaviour)

    def add_postgres(self, hostname: str) -> Postgres:
        """Start and publish a PostgreSQL server, whose certificate is for this name."""
        return self._add_published(Postgres, hostname, PG_HOSTNAME=hostname)

    def add_proxy(self, hostname: str) -> Proxy:
        """Start and publish a host with proxies."""
        host = self._add_published(Proxy, hostname, DNS_SERVER=self.dns.address)
        host.run("role", "ready", "3128")
        return host

    def add_hooks(self, hostname: str) -> Hooks:
        """Start and publish a receiver of webhooks."""
        return self._add_published(Hooks, hostname, MX_HOSTNAME=hostname)

    def add_resolver(self, *zones: str, bogus: Sequence[str] = ()) -> Resolver:
        """Start a resolver that checks DNSSEC in these zones, which are signed, and answers for all others as well.

        It has the key of the first for those in ``bogus``, and so takes their answers for forged.
        """
        keys = [self.dns.run("zone", "key", zone).decode().strip() for zone in zones]
        keys += [keys[0].replace(zones[0], zone) for zone in bogus]
        return self._add_host(Resolver, DNS_SERVER=self.dns.address, ANCHORS="\n".join(keys))

    def add_policies(self) -> Policies:
        """Start a server for MTA-STS policies, which ``publish_policies`` gives it."""
        return self._add_host(Policies)

    def publish_policies(self, host: Policies, *policies: Policy) -> None:
        """Publish MTA-STS policies (RFC 8461) by this host; their domains' zones must be there."""
        files, records = {}, []
        for policy in policies:
            lines = ["version: STSv1", f"mode: {policy.mode}", *(f"mx: {name}" for name in policy.mx), "max_age: 86400"]
            files[f"{policy.domain}.txt"] = "\r\n".join([*lines, ""])
            files[f"{policy.domain}.certificate"] = policy.certificate
            records.append(_record_set(f"mta-sts.{policy.domain}", "A", host.address))
            records.append(_record_set(f"_mta-sts.{policy.domain}", "TXT", f"v=STSv1; id={secrets.token_hex(8)};"))
        host.keep(files)
        self._update(*records)

    def add_dns(self) -> Dns:
        """Start another DNS server, which has the empty root alone."""
        return self._add_host(Dns)

    def add_app(self) -> Host:
        """Start a container that does nothing, with Python, to run senders in."""
        return self._add_host(Host)

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """A client's certificate of that authority, and its key (PEM)."""
        share = "/usr/local/share/internet"
        ask = ["openssl", "req", "-quiet", "-x509", "-CA", f"{share}/ca.pem", "-CAkey", f"{share}/ca.key"]
        ask += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={name}"]
        ask += ["-addext", "extendedKeyUsage=clientAuth", "-keyout", "/tmp/client.key", "-out", "/tmp/client.pem"]
        self.dns.run(*ask)
        return self.dns.run("cat", "/tmp/client.pem"), self.dns.run("cat", "/tmp/client.key")

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
        (at or self.dns).run("zone", "update", _record_set(name, rtype, *values, ttl=ttl))

    def publish_all(self, rtype: str, records: Mapping[str, Sequence[str]]) -> None:
        """``publish`` for many names, to their values, at once."""
        self._update(*(_record_set(name, rtype, *values) for name, values in records.items()))

    def unpublish(self, name: str, rtype: str) -> None:
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
        spf = " ".join(["v=spf1", *(f"ip{_version(address)}:{address}" for address in addresses), "-all"])
        self._update(
            *self._host_records(hostname, addresses),
            *(_record_set(name, "TXT", spf) for name in {hostname, *domains}),
            *(_record_set(name, "TXT", text) for name, text in (dkim or {}).items()),
        )

    def _host_records(self, hostname: str, addresses: Sequence[str]) -> list[str]:
        own = [ip for ip in map(ipaddress.ip_address, addresses) if any(ip in net for net in self._subnets)]
        return [
            _record_set(hostname, "A", *(address for address in addresses if _version(address) == 4)),
            _record_set(hostname, "AAAA", *(address for address in addresses if _version(address) == 6)),
            *(_record_set(ip.reverse_pointer, "PTR", f"{hostname}.") for ip in own),
        ]

    def _update(self, *record_sets: str) -> None:
        self.dns.run("zone", "update", "\n".join(record_sets))

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
                came = [f"{message.message_id} to {message.recipient}" for message in self._messages]
                raise TimeoutError(f"no such message within {timeout:g} s; {len(came)} came: {came[-10:]}")
            self._fetch(min(max(left, 0), 10))

    def _fetch(self, seconds: float) -> None:
        # the wait is inside the container: one docker exec however long it takes
        lines = self.dns.run("fetch", str(seconds)).splitlines()
        new = [ReceivedMessage(base64.b64decode(item["raw"]), item["delivered_at"]) for item in map(json.loads, lines)]
        self._messages += sorted(new, key=lambda message: message.delivered_at)

    def logs(self) -> str:
        """The log of each container under its name."""
        return "\n".join(f"== {host.name}\n{host.logs()}" for host in self.hosts)


def _reverse_zone(net: IPNetwork) -> str:
    labels = net.network_address.reverse_pointer.split(".")
    # a zone may be wider than the network: cuts are at octets (IPv4) or nibbles (IPv6)
    bits = 8 if net.version == 4 else 4
    return ".".join(labels[(net.max_prefixlen - net.prefixlen + bits - 1) // bits :])


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _record_set(name: str, rtype: str, *values: str, ttl: int = 0) -> str:
    """The nsupdate lines that replace a record set, sent on their own: an update covers one zone."""
    owner = name.rstrip(".") + "."
    lines = [f"delete {owner} {rtype}"]
    lines += [f"add {owner} {ttl} {rtype} {_quoted(value) if rtype == 'TXT' else value}" for value in values]
    return "\n".join([*lines, "send"])


def _quoted(text: str) -> str:
    """A TXT value as character strings of at most 255 bytes (RFC 1035, section 3.3)."""
    data = text.encode()
    chunks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return " ".join('"' + "".join(map(_escaped, chunk)) + '"' for chunk in chunks)


def _escaped(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03}"
