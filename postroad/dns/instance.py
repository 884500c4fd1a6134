"""What an EC2 instance learns about itself from its metadata service, version 2 (IMDSv2)."""

import http.client
import json
import re
import time
from dataclasses import dataclass

ENDPOINT = "169.254.169.254"
TIMEOUT = 1.0
"""Seconds in all. A container often gets no answer, because the replies' hop limit is 1 by default."""
LARGEST = 64 * 1024


@dataclass(frozen=True)
class Instance:
    """An instance; all fields are empty on other hosts and where the service doesn't answer."""

    id: str = ""
    region: str = ""
    private_ipv4: str = ""
    public_ipv4: str = ""
    """The instance's own public address; empty behind a NAT gateway."""


def ask(endpoint: str = ENDPOINT, port: int = 80) -> Instance:
    """Ask the metadata service; never raises, and takes ``TIMEOUT`` at most."""
    end = time.monotonic() + TIMEOUT
    # never through a proxy, whatever the environment says: the address is valid on this link only
    try:
        token = _get(endpoint, port, end, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        header = {"X-aws-ec2-metadata-token": token}
        document = json.loads(_get(endpoint, port, end, "GET", "/latest/dynamic/instance-identity/document", header))
        public = _get(endpoint, port, end, "GET", "/latest/meta-data/public-ipv4", header)
        return Instance(
            id=_plain(document.get("instanceId")),
            region=_plain(document.get("region")),
            private_ipv4=_plain(document.get("privateIp")),
            public_ipv4=_plain(public),
        )
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return Instance()


def _plain(value: object) -> str:
    """An identifier or address unchanged; empty for anything else, since the value is shown on a terminal."""
    return value if isinstance(value, str) and re.fullmatch(r"[a-z0-9.-]{1,64}", value) else ""


def _get(endpoint: str, port: int, end: float, method: str, path: str, headers: dict[str, str]) -> str:
    """The text of one answer; empty for a 404.

    Raises:
        OSError, http.client.HTTPException: no answer came in time.
        ValueError: the status is neither 200 nor 404, or the text is not ASCII.
    """
    connection = http.client.HTTPConnection(endpoint, port, timeout=max(end - time.monotonic(), 0.01))
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        text = response.read(LARGEST).decode("ascii").strip()
    finally:
        connection.close()
    if response.status == http.client.NOT_FOUND:
        return ""
    if response.status != http.client.OK:
        raise ValueError(f"{path}: {response.status}")
    return text
