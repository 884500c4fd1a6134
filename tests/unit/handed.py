"""Settings of our processes, for tests that need some."""

from dataclasses import replace
from typing import Any

from postroad.runtime import recording

DAY = 86400.0
SUPPRESSION = recording.SuppressionRules(keep=None, scope="all", never=(), soft_count=None, soft_within=1.0)
RULES = recording.BrakeRules(brake=None, warn=None, window=3600.0, minimum=20)
HOOK = recording.Hook(
    name="app", url="https://app.example.com/", secrets=(), types=("delivered", "bounced"), senders=(), recipients=(),
    allow_private=False, ca="", give_up_after=DAY,
)  # fmt: skip
RECORDING = recording.Settings(
    hostname="mail.sender.example", store=None, keep=30 * DAY, max_size=1 << 30, http=None, suppression=SUPPRESSION,
    bounces=RULES, complaints=RULES, webhooks=(), divides=False,
)  # fmt: skip


def recorded(**changes: Any) -> recording.Settings:
    return replace(RECORDING, **changes)
