"""Publishes the demo's records in the pretend internet's DNS server: the MX of rcpt.example, and the relay's own.

Arguments: the relay's address, the MX's, and what `postroad dkim list --json` prints.
"""

import ipaddress
import json
import subprocess
import sys

relay, mx, keys = sys.argv[1:]


def text(value: str) -> str:
    """A TXT value as character strings of at most 255 octets (RFC 1035, section 3.3)."""
    return " ".join(f'"{value[start : start + 255]}"' for start in range(0, len(value), 255))


records = [
    ("rcpt.example", "MX", "10 mx.rcpt.example."),
    ("mx.rcpt.example", "A", mx),
    ("sender.example", "MX", "10 mx.rcpt.example."),
    ("mail.sender.example", "A", relay),
    (ipaddress.ip_address(relay).reverse_pointer, "PTR", "mail.sender.example."),
    *((name, "TXT", text(f"v=spf1 ip4:{relay} -all")) for name in ("sender.example", "mail.sender.example")),
    *((key["name"], "TXT", text(key["value"])) for key in json.loads(keys)["keys"]),
    ("_dmarc.sender.example", "TXT", text("v=DMARC1; p=reject")),
]
subprocess.run(["zone", "add", "rcpt.example", "sender.example", "in-addr.arpa"], check=True)
# an update covers one zone
lines = [f"add {name}. 0 {kind} {value}\nsend" for name, kind, value in records]
subprocess.run(["zone", "update", "\n".join(lines)], check=True)
