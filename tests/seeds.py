"""The seed of what tests make at random: one in CI, so that a run is like the one before; another each night."""

import os

SEED = int(os.environ.get("POSTROAD_SEED", "20261126"))
