"""An HTTP request that has come whole, for servers that read octets themselves."""

import io
from http.server import BaseHTTPRequestHandler


class WholeRequest(BaseHTTPRequestHandler):
    """The standard library's without a socket: ``do_GET`` and others write to ``wfile``; ``answer`` is what to send."""

    server_version, sys_version = "postroad", ""

    def __init__(self, request: bytes) -> None:
        """Answer this request."""
        self._request = request
        super().__init__(None, ("", 0), None)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Read octets and write octets."""
        self.rfile, self.wfile = io.BytesIO(self._request), io.BytesIO()

    def finish(self) -> None:
        """Nothing is left to do."""

    @property
    def answer(self) -> bytes:
        """What has been written so far."""
        return self.wfile.getvalue()  # type: ignore[attr-defined, no-any-return]
