"""Cases of address rewriting, for every implementation of it."""

import tomllib
from pathlib import Path
from typing import Any

_TABLE = tomllib.loads(Path(__file__).with_name("cases.toml").read_text())
REWRITE: dict[str, Any] = _TABLE["rewrite"]
"""The section ``rewrite`` of a configuration."""
CASES: dict[str, str] = _TABLE["cases"]
"""Addresses, and what they leave as."""
