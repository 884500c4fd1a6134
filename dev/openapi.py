"""The OpenAPI document of the HTTP API, as `GET /v1/openapi.json` answers it: ``docs/openapi.json``.

``python -m dev.openapi`` prints it.
"""

import json
import sys
from pathlib import Path

from postroad.runtime.web import Settings
from postroad.web.openapi import document
from postroad.web.services import Services

SETTINGS = Settings(
    hostname="mail.example.com", host="127.0.0.1", port=8080, tls=False, proxies=(), keys=(), submission=0,
    implicit=False, message_size=0,
)  # fmt: skip
"""None of this is in the document."""


def text() -> str:
    """The document as it is kept."""
    return json.dumps(document(Services(SETTINGS, Path()).operations()), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
