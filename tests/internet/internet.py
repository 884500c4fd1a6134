"""The suite's pretend internet: the public one, with servers that only the project's own tests need.

with Internet() as internet:
    # start the relay on internet.network with dns=[internet.dns.address]
    internet.publish_sender("mail.sender.example", relay_ip, dkim={"s1._domainkey.sender.example": txt})
    # send
    message = internet.wait_for_message("<id@sender.example>")
    assert message.verdict("dkim") == message.verdict("spf") == "pass"
"""

import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from postroad.testing import internet
from postroad.testing.internet import LABEL
from postroad.testing.records import record_set
from tests.internet.host import Dns, Hooks, Mx, Policies, Postgres, Proxy, Resolver, Watch

__all__ = ["IMAGE", "LABEL", "PUBLIC_IMAGE", "TREE", "Internet", "Policy", "build_image", "build_public_image"]

PUBLIC_IMAGE = os.environ.get("POSTROAD_INTERNET_IMAGE", "postroad-internet")  # two source trees may share one engine
IMAGE = f"{PUBLIC_IMAGE}-suite"
ROOT = Path(__file__).parents[2]
TREE = {"postroad.test.tree": str(ROOT)}
"""On all that tests make, so that ``make down`` removes its own tree's: another's suite may be running."""


def build_public_image() -> None:
    """Build the image that others use as well; quick when nothing changed."""
    subprocess.run(["docker", "build", "--quiet", "--tag", PUBLIC_IMAGE, ROOT / "internet"], check=True)


def build_image() -> None:
    """Build the image of all roles, and the public one that it is made from; quick when nothing changed."""
    build_public_image()
    own = [f"--build-arg=INTERNET={PUBLIC_IMAGE}", "--tag", IMAGE, f"{ROOT}/tests/internet"]
    subprocess.run(["docker", "build", "--quiet", *own], check=True)


@dataclass(frozen=True)
class Policy:
    """A domain's MTA-STS policy: enforce, testing or none; patterns of its MX hosts' names; the policy host's certificate.

    The certificate is good, expired, self-signed or wrong-name.
    """

    domain: str
    mode: str
    mx: Sequence[str]
    certificate: str = "good"


class Internet(internet.Internet):
    """The network and what is on it, from ``with`` to its end.

    It begins with the zones ``rcpt.example`` and ``sender.example``, and one MX that takes the mail of both (so that a
    bounce to the sender arrives as well).
    """

    def __init__(self, name: str | None = None, *, ipv6: bool = False) -> None:
        super().__init__("rcpt.example", "sender.example", name=name, image=IMAGE, ipv6=ipv6, labels=TREE)

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
            records.append(record_set(f"mta-sts.{policy.domain}", "A", host.address))
            records.append(record_set(f"_mta-sts.{policy.domain}", "TXT", f"v=STSv1; id={secrets.token_hex(8)};"))
        host.keep(files)
        self._update(*records)

    def add_dns(self) -> Dns:
        """Start another DNS server, which has the empty root alone."""
        return self._add_host(Dns)

    def client_certificate(self, name: str) -> tuple[bytes, bytes]:
        """A client's certificate of that authority, and its key (PEM)."""
        share = "/usr/local/share/internet"
        ask = ["openssl", "req", "-quiet", "-x509", "-CA", f"{share}/ca.pem", "-CAkey", f"{share}/ca.key"]
        ask += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={name}"]
        ask += ["-addext", "extendedKeyUsage=clientAuth", "-keyout", "/tmp/client.key", "-out", "/tmp/client.pem"]
        self.dns.run(*ask)
        return self.dns.run("cat", "/tmp/client.pem"), self.dns.run("cat", "/tmp/client.key")
