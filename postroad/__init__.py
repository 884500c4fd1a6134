"""Postroad: a send-only mail server in one container."""

__version__ = "0.1.0"
