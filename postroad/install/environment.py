"""The environments of the processes that a plan starts: nothing of the container's own variables."""

import hashlib
from pathlib import Path

from postroad.config.model import Config
from postroad.install.material import Material
from postroad.runtime import bounds
from postroad.runtime.paths import CURRENT, LOG_SOCKET
from postroad.sendmail import listeners

PRELOAD = "/usr/local/lib/postroad/preload.so"


def of_tools(config: Config) -> dict[str, str]:
    """For sendmail's programs: the preloaded library and its settings (preload/)."""
    return {
        "PATH": "/usr/sbin:/usr/bin",
        "LD_PRELOAD": PRELOAD,
        "POSTROAD_FQDN": config.hostname,
        "POSTROAD_LOG_SOCKET": str(LOG_SOCKET),
        "POSTROAD_NO_AUTH": listeners.no_auth(config),
    }


def of_sendmail(config: Config) -> dict[str, str]:
    """The same for sendmail itself, whose deliveries have to end (preload/attempts.c)."""
    seconds = max(1, round(config.delivery.attempt_timeout.total_seconds()))
    return of_tools(config) | {
        "POSTROAD_ATTEMPT_TIMEOUT": str(seconds),
        "POSTROAD_MOST_DELIVERIES": str(bounds.here(config.delivery.concurrency).background),
        "POSTROAD_PREFER": config.delivery.prefer,
    }


def of_python() -> dict[str, str]:
    """For our own processes."""
    return {"PATH": "/usr/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}


GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "262144"}
"""glibc's variables (mallopt(3)) for a process with threads and large things that it needs for a moment, as argon2's
19 MiB for each password: without the second, what was freed once is kept from then on.
"""


def of_authorities(material: Material) -> dict[str, str]:
    """``delivery.tls.ca_file`` where OpenSSL looks for it, besides the system's folder, and a digest of its content.

    Another digest is another environment, so the process is started anew. Empty without such a file.
    """
    if not material.authorities:
        return {}
    digest = hashlib.sha256(material.authorities.encode()).hexdigest()
    return {"SSL_CERT_FILE": str(CURRENT / "ca.pem"), "POSTROAD_AUTHORITIES": digest}
