"""One receiver, over one connection that stays open; and what its answers mean."""

from __future__ import annotations

import base64
import email.utils
import http.client
import ssl
import time
import urllib.parse
from dataclasses import dataclass
from typing import Final, Literal

from lrwatch import __version__
from lrwatch.errors import LrwatchError

TIMEOUT: Final = 30.0
PATH: Final = "/api/v1/write"
"""Where Prometheus receives, for an address without a path."""
SKEW: Final = 2.0
"""Seconds that this clock may be ahead of the receiver's before the receiver's counts: its Date has whole seconds."""
_HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": f"lrwatch/{__version__}",
}
_NEVER: Final = ("out of order", "duplicate", "out of bounds", "too old", "too far in the future")
"""What a receiver says of samples that it will take as little next time; some say so with a 500."""

Meaning = Literal["taken", "later", "refused", "too large", "wrong"]


@dataclass(frozen=True)
class Answer:
    """What came back; ``after``: seconds that the receiver asks to wait."""

    status: int
    text: str = ""
    after: float | None = None

    @property
    def meaning(self) -> Meaning:
        """``taken`` · ``later``: the same may succeed then · ``refused``: these samples never will ·
        ``too large`` · ``wrong``: nothing sent there, or with this token, will."""
        if self.status // 100 == 2:
            return "taken"
        if self.status in (400, 422) or (self.status == 500 and any(word in self.text for word in _NEVER)):
            return "refused"
        if self.status == 413:
            return "too large"
        return "later" if self.status in (408, 429) or self.status >= 500 else "wrong"


class Receiver:
    """Sends requests.

    Args:
        url: http or https; without a path the one of Prometheus. token: for ``Authorization``, as a bearer token, or
            as the password of ``user``.

    Raises:
        LrwatchError: the address is none, or has a password in it.
    """

    def __init__(self, url: str, token: str | None = None, user: str | None = None):
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as e:
            raise LrwatchError(f"--to {url}: {e}") from None
        plain = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not host or not plain:
            raise LrwatchError(f"--to {url}: must be an address such as http://prometheus:9090{PATH}")
        if parts.username is not None or parts.password is not None:
            raise LrwatchError("--to: an address is seen by everybody; give --user and --token-file instead")
        self.path = (parts.path if parts.path not in ("", "/") else PATH) + (f"?{parts.query}" if parts.query else "")
        self.url = f"{parts.scheme}://{parts.netloc}{self.path}"
        self._headers = dict(_HEADERS)
        if token is not None:
            basic = base64.b64encode(f"{user}:{token}".encode()).decode()
            self._headers["Authorization"] = f"Bearer {token}" if user is None else f"Basic {basic}"
        self._host, self._port = host, port
        self._secure = ssl.create_default_context() if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        self._ahead: float | None = None

    def now(self) -> int:
        """Milliseconds of Unix time, by the receiver's clock where this one is ahead of it.

        Raises:
            OSError, http.client.HTTPException: the receiver was not heard yet, and cannot be.
        """
        if self._ahead is None:
            self._ask("HEAD", b"")
        return int((time.time() - (self._ahead or 0.0)) * 1000)

    def send(self, body: bytes) -> Answer:
        """Send a compressed WriteRequest. Raises OSError, http.client.HTTPException: it did not come back."""
        return self._ask("POST", body)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self, method: str, body: bytes) -> Answer:
        connection = self._connection or self._connect()
        self._connection = connection
        try:
            connection.request(method, self.path, body=body or None, headers=self._headers)
            response = connection.getresponse()
            text = response.read(1 << 16).decode(errors="replace").strip()
            if not response.isclosed():
                self.close()
        except BaseException:
            self.close()
            raise
        self._look_at_clock(response.getheader("Date"))
        return Answer(response.status, text, _seconds(response.getheader("Retry-After")))

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=self._secure)

    def _look_at_clock(self, date: str | None) -> None:
        try:
            ahead = time.time() - email.utils.parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            ahead = 0.0
        self._ahead = ahead if ahead > SKEW else 0.0


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
