"""Waits for the demo's message and shows what the MX received and the relay logged; exits with 1 unless all is well.

Arguments: what app.py printed, and what is known of the relay's container, as JSON; standard input: the relay's log.
"""

import base64
import json
import re
import subprocess
import sys
import time
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

SECONDS = 20
sent, relay = map(json.loads, sys.argv[1:])


def arrival() -> tuple[EmailMessage, float]:
    """The message at the MX, and when it was delivered."""
    deadline = time.time() + SECONDS
    while time.time() < deadline:
        fetched = subprocess.run(["fetch", "1"], capture_output=True, text=True, check=True).stdout
        for item in map(json.loads, fetched.splitlines()):
            message = message_from_bytes(base64.b64decode(item["raw"]), policy=policy.default)
            if message["Message-ID"] == sent["message_id"]:
                return message, item["delivered_at"]
    sys.exit(f"demo: the message did not arrive within {SECONDS} s; the relay's log:\n{sys.stdin.read()}")


def found(pattern: str, text: str) -> str:
    """What the first group matches; empty where the pattern does not."""
    match = re.search(pattern, text)
    return match[1] if match else ""


def main() -> int:
    """Show it; return the exit code."""
    message, delivered_at = arrival()
    print("\nWhat the MX received:\n")
    for name in ("Return-Path", "Received", "Authentication-Results", "DKIM-Signature", "From", "To", "Subject"):
        for value in message.get_all(name, []):
            print(f"  {name}: {' '.join(str(value).split())}")
    print("\nWhat the relay logged:\n")
    log = sys.stdin.read().splitlines()
    print("\n".join(f"  {line}" for line in log if sent["message_id"] in line))
    events = [json.loads(line) for line in log if line.startswith("{")]
    ready = next(event["time"] for event in events if event.get("state") == "ready")
    # Docker writes nanoseconds
    started = datetime.fromisoformat(relay["started"][:23] + "+00:00")
    seconds = (datetime.fromisoformat(ready) - started).total_seconds()
    tls = found(r"\(using (\S+) ", str(message["Received"]))
    results = " ".join(map(str, message.get_all("Authentication-Results", [])))
    verdicts = {method: found(rf"{method}=(\w+)", results) for method in ("dkim", "spf")}
    waited, took = sent["done"] - sent["began"], delivered_at - sent["began"]
    print(
        f"\n  user {relay['user']}; read-only root: {relay['read_only']}; dropped: {relay['dropped']}"
        f"\n  the app waited {waited:.2f} s; the MX had it after {took:.2f} s"
        f"\n  ready {seconds:.2f} s after the container started; {relay['memory'].split()[0]} of memory in use now"
        f"\n  {tls or 'no TLS'}  " + "  ".join(f"{method}={verdict}" for method, verdict in verdicts.items())
    )
    return 0 if tls and set(verdicts.values()) == {"pass"} else 1


if __name__ == "__main__":
    sys.exit(main())
