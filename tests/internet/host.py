"""The containers of the suite's pretend internet."""

import base64
import json
import time
from collections.abc import Mapping
from itertools import chain
from typing import Any

import psycopg
from psycopg import sql

from postroad.testing import host
from postroad.testing.host import Dns, Host

__all__ = ["Dns", "Hooks", "Host", "Mx", "Policies", "Postgres", "Proxy", "Resolver", "Watch"]


class Resolver(Host):
    """A DNS resolver that checks DNSSEC."""

    role = "resolver"
    port = 53


class Watch(Host):
    """An SMTP server that takes everything and writes down what it is told; ``image/watch`` has a port a behaviour."""

    role = "watch"
    port = 25

    def commands(self, port: int) -> list[str]:
        """What came to a port so far: ``clear`` or ``tls``, and the command."""
        lines = self.run("cat", "/run/watch/log").decode().splitlines()
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{port} ")]

    def server_names(self) -> set[str]:
        """The names that clients asked for in their TLS handshakes (SNI)."""
        return set(self.run("sh", "-c", "cat /run/watch/names || true").decode().splitlines())

    def messages(self) -> list[bytes]:
        """The messages that it took, as they came over the wire, their last line's end included."""
        lines = self.run("sh", "-c", "cat /run/watch/messages || true").splitlines()
        return [base64.b64decode(line) for line in lines]

    def forget(self) -> None:
        """Begin the record anew."""
        self.run("truncate", "--size=0", "/run/watch/log")

    def go(self) -> None:
        """Let what waits for it go on."""
        self.run("touch", "/run/watch/go")


class Proxy(Host):
    """SOCKS 5 on ports 1080 (``app``, ``s3cret``) and 1081 (nobody asks), HTTP on 3128."""

    role = "proxy"
    port = 1081


class Hooks(Host):
    """A receiver of webhooks that writes down what it gets; ``image/hooks`` has a path and a port a behaviour."""

    role = "hooks"
    port = 80

    def requests(self, path: str) -> list[dict[str, Any]]:
        """What came for a path so far: ``number`` of the request with this id, ``headers``, ``body``."""
        found = [json.loads(line) for line in self.run("sh", "-c", "cat /run/hooks/log || true").decode().splitlines()]
        return [each for each in found if each["path"] == path]


class Policies(Host):
    """The MTA-STS policy hosts of all domains: HTTPS under any name."""

    role = "policies"
    port = 443

    def keep(self, files: Mapping[str, str]) -> None:
        """Write these files, by name: see ``image/policies``."""
        script = 'cd /run/policies && while [ $# -gt 0 ]; do printf %s "$2" >"$1" && shift 2; done'
        self.run("sh", "-c", script, "-", *chain.from_iterable(files.items()))


class Postgres(Host):
    """A PostgreSQL server, by its address and by its name; the superuser ``postgres`` has the password ``superuser``."""

    role = "postgres"
    port = 5432

    def start(self) -> None:
        super().start()
        deadline = time.monotonic() + 20
        while True:  # the port is open a moment before
            try:
                return self._connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise

    def _connect(self) -> psycopg.Connection:
        url = f"postgresql://postgres:superuser@{self.address}/postgres"
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def add_database(self, name: str, password: str, encoding: str = "UTF8") -> None:
        """Make a database in this encoding, and a role of the same name that owns it."""
        given = (sql.Identifier(name), sql.Literal(password), sql.Literal(encoding))
        with self._connect() as connection:
            for statement in (
                "CREATE ROLE {0} LOGIN PASSWORD {1}",
                "CREATE DATABASE {0} OWNER {0} ENCODING {2} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
            ):
                connection.execute(sql.SQL(statement).format(*given))

    def start_pooler(self) -> int:
        """Start a pooler in transaction mode in front of the server, until that stops; return its port."""
        self.container.exec_run(["suite", "pooler"], detach=True)
        self.run("role", "ready", "6432")
        return 6432


class Mx(host.Mx):
    """A receiver, which may also be a smarthost with submission ports."""

    def set_password(self, user: str, password: str) -> None:
        """Give a user of the submission ports another password."""
        script = 'printf %s "$2" | saslpasswd2 -p -c -u "$(postconf -h myhostname)" "$1" && chown postfix /etc/sasldb2'
        self.run("sh", "-c", script, "-", user, password)

    def offer(self, mechanisms: str) -> None:
        """Offer these SASL mechanisms from now on."""
        self.run("sed", "-i", f"s/^mech_list:.*/mech_list: {mechanisms}/", "/etc/sasl2/smtpd.conf")
        self.run("postfix", "reload")

    def grant(self, **state: object) -> None:
        """What its token server does from now on (``image/tokens``)."""
        self.run(
            "sh",
            "-c",
            'printf %s "$1" >/run/tokens/new && mv /run/tokens/new /run/tokens/state',
            "-",
            json.dumps(state),
        )

    def granted(self) -> list[str]:
        """What its token server was asked for: the grant, and the refresh token or ``-``."""
        return self.run("sh", "-c", "cat /run/tokens/log || true").decode().splitlines()
