"""Calls of the vendors' SDKs for Node.js: tests/sdks/call.js."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from tests.documents import ROOT

FOLDER = ROOT / "tests" / "sdks"


def called(
    url: str, sdk: str, *calls: list[Any], key: str, environ: Mapping[str, str] | None = None, **more: Any
) -> list[dict[str, Any]]:
    """What each call answers, as ``answer``, or its error, as ``error``.

    Args:
        url: the relay's.
        sdk: the vendor's name.
        calls: the arguments of each.
        key: the key.
        environ: further variables.
        more: ``name``: the access key ID of SES; ``resolve``: addresses of hosts.
    """
    given = {"sdk": sdk, "url": url, "key": key, "calls": calls} | more
    ran = subprocess.run(
        ["node", "call.js"],
        cwd=FOLDER,
        input=json.dumps(given),
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    assert len(found) == len(calls)
    return found
