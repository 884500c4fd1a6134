"""The containers of a pretend internet: one image, told apart by their role."""

import hashlib
import subprocess
import time
from collections.abc import Sequence

from docker.errors import APIError
from docker.models.containers import Container


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
        deadline = time.monotonic() + 20
        while True:
            try:
                self.container.pause()
            except APIError as error:  # a busy kernel may fail to freeze all processes within Docker's time
                if time.monotonic() > deadline or "unable to freeze" not in str(error):
                    raise
                time.sleep(0.5)
            else:
                return

    def unpause(self) -> None:
        """Let it go on."""
        self.container.unpause()

    def logs(self) -> str:
        """All that it printed."""
        return self.container.logs().decode(errors="replace")


class Dns(Host):
    """The DNS server; the mail of all MX hosts is read out through it, since it is always there."""

    role = "dns"
    port = 53


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

    def refuse(self) -> None:
        """Close port 25: clients see the connection refused, at once."""
        self.run("postconf", "-MX", "smtp/inet")
        self.run("postfix", "reload")

    def accept(self) -> None:
        """Open port 25 again."""
        self.run("postconf", "-M", "smtp/inet=smtp inet n - n - - smtpd")
        self.run("postfix", "reload")
        self.run("role", "ready", str(self.port))

    def receive(self, *domains: str) -> None:
        """Take mail for these domains as well; the DNS has to lead it here."""
        self.run("receive", *domains)
