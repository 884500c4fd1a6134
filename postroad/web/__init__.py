"""The HTTP API: the process `web`."""
