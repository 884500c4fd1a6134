"""A message's end: the policy's verdict, then the signatures, as the milter's answer."""

import time
from dataclasses import replace
from pathlib import Path

from postroad.events import redirections
from postroad.runtime import signing
from postroad.runtime.log import Tell
from postroad.runtime.paths import QUEUE
from postroad.signer import bounces, protocol, sign
from postroad.signer import envelope as envelope_of
from postroad.signer.keys import PrivateKey
from postroad.signer.policy import Acceptance, Refusal, SubmittedMessage, decide
from postroad.signer.returned import ReturnAddresses

LONGEST_VALUE = 980
"""Octets: it is a line of a header (RFC 5322, section 2.1.1), and goes through sendmail's rules, which hold 1,256."""


class Judge:
    """Answers for messages, with one generation's settings and keys."""

    def __init__(
        self,
        settings: signing.Settings,
        keys: dict[str, PrivateKey],
        log: Tell,
        returns: ReturnAddresses | None = None,
    ) -> None:
        """Prepare.

        Args:
            settings: what is wanted.
            keys: the private keys by the names of their files, one for each of ``settings.keys``.
            log: where signatures and faults are told.
            returns: whose mail leaves with a return address; None: nobody's.
        """
        self._returns = returns
        self._settings = settings
        # a domain's own key before that of one above it, and of these the nearest
        order = sorted(settings.keys, key=lambda key: -key.domain.count("."))
        self._keys = [(key, keys[key.file]) for key in order]
        self._log = log

    @classmethod
    def load(cls, generation: Path, log: Tell) -> "Judge":
        """Read a generation's settings and keys.

        Raises:
            OSError, ValueError, TypeError, KeyError: the settings can't be read.
            SigningError: a key can't.
        """
        settings = signing.load(generation / signing.FILE)
        keys = {key.file: PrivateKey((generation / key.file).read_bytes()) for key in settings.keys}
        return cls(settings, keys, log, ReturnAddresses.load(generation))

    def return_address(self, key: str) -> bytes:
        """The local part of a message's return address; empty where it keeps its sender.

        Args:
            key: ``QUEUE_ID@SENDER_DOMAIN``, as the rules ask.
        """
        return self._returns.local_part(key, time.time()) if self._returns else b""

    def __call__(self, envelope: protocol.Envelope) -> protocol.Answer:
        """The answer; a fault of ours is a temporary refusal, and never lets a message pass."""
        queue_id = envelope.macros.get(b"i", b"?").decode("ascii", "replace")
        user = envelope.macros.get(b"{auth_authen}", b"").decode("utf-8", "surrogateescape")
        try:
            verdict = decide(SubmittedMessage(tuple(envelope.headers), user), self._settings)
            if isinstance(verdict, Refusal):
                return (protocol.refuse(verdict.code, verdict.status, verdict.text),)
            verdict = self._with_link(verdict, envelope)
            answer = self._accept(queue_id, verdict, envelope.body.digest())
        except Exception as error:  # noqa: BLE001 - fail closed, whatever it is
            self._log("err", f"{queue_id}: can't be signed now: {error!r}")
            return (protocol.TRY_AGAIN,)
        for line in redirections.written(queue_id, envelope_of.redirections(envelope.recipients)):
            self._log("info", line)
        return answer

    def bounce(self, queue_id: str) -> bytes:
        """The value of a DKIM-Signature field for a bounce of sendmail's, in one line; empty where it gets none."""
        host = self._settings.hostname
        try:
            for key, private in self._keys:
                if private.algorithm != "rsa-sha256" or not f".{host}".endswith(f".{key.domain}"):
                    continue
                bounce = bounces.read(QUEUE, queue_id, host)
                if bounce is None:
                    return b""
                if bounce.signature:
                    return bounce.signature
                value = sign.signature(
                    private, key.domain, key.selector, bounce.header, bounce.body_hash, time.time(), compact=True
                )
                return value if len(value) <= LONGEST_VALUE else b""
        except Exception as error:  # noqa: BLE001 - it leaves unsigned: its reader would else learn of nothing
            self._log("err", f"{queue_id}: a bounce can't be signed: {error!r}")
        return b""

    def _with_link(self, verdict: Acceptance, envelope: protocol.Envelope) -> Acceptance:
        """The verdict, with the fields of one-click unsubscribing where they belong."""
        if self._returns is None:
            return verdict
        fields = self._returns.unsubscribe_fields(
            envelope_of.address(envelope.sender),
            [envelope_of.address(path) for path, _ in envelope.recipients],
            {name.lower() for name, _ in verdict.headers},
        )
        return replace(verdict, headers=(*verdict.headers, *fields), added=(*verdict.added, *fields))

    def _accept(self, queue_id: str, verdict: Acceptance, body_hash: bytes) -> protocol.Answer:
        # the last one first: a field that goes is not counted any more
        answer = [protocol.change(change.name, change.index, change.value) for change in reversed(verdict.changes)]
        answer += [protocol.add(name, value) for name, value in verdict.added]
        signed = []
        for key, private in self._for(verdict.domains):
            value = sign.signature(private, key.domain, key.selector, verdict.headers, body_hash, time.time())
            answer.append(protocol.insert(b"DKIM-Signature", value))
            signed.append(key)
        for key in signed:
            self._log("info", f"{queue_id}: DKIM-Signature field added (s={key.selector}, d={key.domain})")
        return (*answer, protocol.ACCEPT)

    def _for(self, domains: tuple[str, ...]) -> list[tuple[signing.DkimKey, PrivateKey]]:
        """The keys for these domains, each once; a domain that any may use has none."""
        wanted = {}
        for domain in domains:
            covering = [
                pair for pair in self._keys if signing.SenderDomain(pair[0].domain, pair[0].subdomains).covers(domain)
            ]
            for key, private in covering:
                if key.domain == covering[0][0].domain:  # one for each algorithm
                    wanted[key.file] = key, private
        return list(wanted.values())
