"""What every request passes: its host, its size, its pace; and what every response says to the
browser."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 64 * 1024
"""Bytes of a request."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for "
    "'script'; "
    "trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "cache-control": "no-store",
    "server": "whichpairs",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Address:
    """How browsers reach the page.

    Attributes:
        origin: scheme, host and port; root: the proxy's prefix, empty or ``/…`` without an end
            slash.
    """

    origin: str
    root: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address that a URL names."""
        parts = urlsplit(url)
        return cls(f"{parts.scheme}://{parts.netloc}".lower(), parts.path.rstrip("/"))

    @property
    def host(self) -> str:
        """Without the port."""
        return urlsplit(self.origin).hostname or ""

    @property
    def secure(self) -> bool:
        """Whether cookies may be kept to https: everywhere but on this machine itself."""
        return self.origin.startswith("https:") or self.host not in LOOPBACK

    def allows(self, host: str) -> bool:
        """Whether a request names this place (a page elsewhere that resolves to it does not)."""
        name = (urlsplit(f"//{host}").hostname or "").lower()
        return name == self.host or (name in LOOPBACK and self.host in LOOPBACK)


@dataclass
class Pace:
    """So many requests a second for each name, with some at once.

    Attributes:
        rate: requests a second; burst: at once; clock: seconds.
    """

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def allows(self, name: str) -> bool:
        """Take one request of a name's, if it has one left."""
        now = self.clock()
        if len(self._left) > 10_000:
            full = self.burst / self.rate
            self._left = {k: v for k, v in self._left.items() if now - v[1] < full}
        left, then = self._left.get(name, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.rate)
        self._left[name] = (max(left - 1.0, 0.0), now) if left >= 1.0 else (left, now)
        return left >= 1.0


class Guard:
    """ASGI: refuses what is addressed elsewhere or too long; adds the headers."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app, self._address = app, address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    if name not in headers:
                        headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is not None:
            await refusal(scope, receive, headed)
            return
        # With or without the proxy's prefix: some take it away, some do not.
        root, path = self._address.root, scope["path"]
        whole = path if path.startswith(f"{root}/") else root + path
        await self._app({**scope, "root_path": root, "path": whole}, _limited(receive), headed)

    def _refusal(self, headers: Headers) -> PlainTextResponse | None:
        if not self._address.allows(headers.get("host", "")):
            return PlainTextResponse("This page is served under another name.\n", 421)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            return PlainTextResponse(f"A request has at most {MOST_BODY} bytes.\n", 413)
        return None


class TooLongError(Exception):
    """A body without a stated length grew beyond what is read."""


def _limited(receive: Receive) -> Callable[[], Awaitable[Message]]:
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BODY:
            raise TooLongError
        return message

    return limited
