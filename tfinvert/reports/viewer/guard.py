"""What is refused before it is looked at, and the headers of every answer."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

HOSTS = ("127.0.0.1", "localhost")
METHODS = ("GET", "HEAD")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A page in a run directory may come from a stranger. It gets an origin of its own, and loads nothing from anywhere.
FILE_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; sandbox allow-scripts; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    **dict.fromkeys((".json", ".jsonl", ".flags", ".md", ".txt", ".csv", ".log"), "text/plain; charset=utf-8"),
    ".html": "text/html; charset=utf-8",
}


class Guard:
    """An application around another one, which answers only requests of this machine's own pages that read."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            elif scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
            await send(message)

        # A site whose name leads to 127.0.0.1 would name itself here (DNS rebinding).
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or hosts[0].rpartition(":")[0 if ":" in hosts[0] else 2] not in HOSTS:
            await PlainTextResponse("this page answers 127.0.0.1 and localhost only", 403)(scope, receive, guarded)
        elif scope["method"] not in METHODS:
            await PlainTextResponse("this page only reads", 405)(scope, receive, guarded)
        else:
            await self.app(scope, receive, guarded)


def file_headers(name: str) -> dict[str, str]:
    """The headers of a file of a run directory: images, text and reports are shown, anything else is downloaded."""
    suffix = f".{name.rpartition('.')[2].lower()}"
    headers = {"Content-Security-Policy": FILE_POLICY, "Content-Type": TYPES.get(suffix, "application/octet-stream")}
    return headers if suffix in TYPES else {**headers, "Content-Disposition": "attachment"}
