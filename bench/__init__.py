"""Postroad beside its peers, measured in one run: ``make bench``; see docs/performance.md."""
