"""The containers of the pretend internet."""

import base64
import hashlib
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import psycopg
from docker.errors import APIError
from docker.models.containers import Container
from psycopg import sql


class Host:
    """One container of the pretend internet; it keeps its addresses (IPv4 first) while it is stopped."""

    role = "app"
    port: int | None = None  # what tells that it serves

    def __init__(self, container: Container, addresses: Sequence[str]) -> None:
        self.container = container
        self.name = str(container.name)
        self.addresses = addresses

    @property
    def address(self) -> str:
        """The IPv4 address."""
        return self.addresses[0]

    def run(self, *argv: str, timeout: float = 60, stdin: bytes | None = None) -> bytes:
        """Run a command inside, with this standard input or none, and return its standard output.

        Raises:
            RuntimeError: it failed; says what it wrote.
            subprocess.TimeoutExpired: it was not done after ``timeout`` seconds.
        """
        # the docker module's exec takes minutes to collect 50 MB, or leaks its socket
        command = ["docker", "exec", *(["-i"] if stdin is not None else []), self.name, *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace")
            raise RuntimeError(f"{argv[0]} in {self.name} failed (exit {done.returncode}): {said}")
        return done.stdout

    def start(self) -> None:
        """Start it and wait until it serves."""
        try:
            self.container.start()
            if self.port:
                self.run("role", "ready", str(self.port))
        except (APIError, RuntimeError) as error:
            raise RuntimeError(f"{self.name} did not start: {error}\n{self.logs()}") from error

    def stop(self) -> None:
        """Stop it: its address answers nothing, so that clients wait for their connection to time out."""
        self.container.stop(timeout=3)

    def pause(self) -> None:
        """Freeze it: connections open, and then nothing comes."""
        for last in (False, False, True):
            try:
                self.container.pause()
            except APIError as error:  # a busy kernel may fail to freeze all processes within Docker's time
                if last or "unable to freeze" not in str(error):
                    raise
            else:
                return

    def unpause(self) -> None:
        self.container.unpause()

    def logs(self) -> str:
        return self.container.logs().decode(errors="replace")


class Dns(Host):
    """The DNS server; the mail of all MX hosts is read out through it, since it is always there."""

    role = "dns"
    port = 53


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
        self.container.exec_run(["role", "pooler"], detach=True)
        self.run("role", "ready", "6432")
        return 6432


class Mx(Host):
    """A receiving MX; besides stopped and frozen it can be up with its port closed."""

    role = "mx"
    port = 25

    def tlsa(self) -> str:
        """A TLSA record for its key: DANE-EE, SPKI, SHA-256 (RFC 7672, section 3.1.1)."""
        key = self.run(
            "sh", "-c", "openssl x509 -in /run/mx/cert.pem -noout -pubkey | openssl pkey -pubin -outform DER"
        )
        return f"3 1 1 {hashlib.sha256(key).hexdigest()}"

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

    def refuse(self) -> None:
        """Close port 25: clients see the connection refused, at once."""
        self.run("postconf", "-MX", "smtp/inet")
        self.run("postfix", "reload")

    def accept(self) -> None:
        """Open port 25 again."""
        self.run("postconf", "-M", "smtp/inet=smtp inet n - n - - smtpd")
        self.run("postfix", "reload")
        self.run("role", "ready", str(self.port))
