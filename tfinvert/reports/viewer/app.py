"""The web application: pages, what they ask for as JSON, files, and events when runs change. It only reads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tfinvert.reports.viewer import cards, sweeps
from tfinvert.reports.viewer.catalog import Catalog
from tfinvert.reports.viewer.guard import Guard, file_headers
from tfinvert.reports.viewer.paths import ROOT, inside, opened

STATIC = Path(__file__).parent / "static"
STATIC_FILES = {path.name for path in STATIC.iterdir()}
FIRST, MOST = 60, 300  # cards in an answer
EVENT_SECONDS, ALIVE_SECONDS = 0.2, 15.0  # between two looks for changes; between two lines that say nothing
MOST_CHANGES = 200  # runs in an event; where more have changed, the event says so
CHUNK = 2**18  # bytes


def create(folder: Path, closing: threading.Event) -> Guard:
    """The application.

    Args:
      folder: the folder whose run directories are shown.
      closing: ends the streams of events when it is set.
    """
    catalog = Catalog(folder)
    # The first look takes longest, and begins before the browser asks.
    threading.Thread(target=catalog.prepare, name="first look", daemon=True).start()

    def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC_FILES:
            return _missing("file")
        return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})

    def runs(request: Request) -> Response:
        words = request.query_params.get("query", "")[:200].casefold().split()
        offset, count = _number(request, "offset", 0), min(_number(request, "count", FIRST), MOST)
        names = catalog.names()
        if words:
            names = [name for name in names if _matches(catalog.card(name), words)]
        shown = [card for name in names[offset : offset + count] if (card := catalog.card(name))]
        return JSONResponse({"folder": str(folder), "total": len(names), "runs": shown})

    def one_run(request: Request) -> Response:
        name = request.path_params["name"] or ROOT
        card = catalog.card(name)
        path = inside(folder, name)
        if card is None or path is None:
            return _missing("run")
        return JSONResponse({**card, **cards.read_all(path)})

    def all_sweeps(request: Request) -> Response:
        words = request.query_params.get("query", "")[:200].casefold().split()
        found = [
            {
                **sweep,
                "runs": sweep["runs"][:40],
                "count": len(sweep["runs"]),
                "layers": [card["layer"]["name"] for card in sweep["runs"]],
            }
            for sweep in sweeps.find(catalog)
        ]
        return JSONResponse({"sweeps": [sweep for sweep in found if _matches(sweep, words)][:100]})

    def one_sweep(request: Request) -> Response:
        sweep = sweeps.layers(catalog, request.path_params["name"] or ROOT)
        return JSONResponse(sweep) if sweep else _missing("sweep")

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        found = opened(folder, name)
        if found is None:
            return _missing("file")
        headers = {**file_headers(name), "Cache-Control": "no-cache"}
        if "v" in request.query_params:  # the time of its change is in the address
            headers["Cache-Control"] = "private, max-age=86400"

        def chunks():
            with found:
                while data := found.read(CHUNK):
                    yield data

        return StreamingResponse(chunks(), headers=headers)

    async def events(request: Request) -> Response:
        version, _ = await run_in_threadpool(catalog.changes, 0)

        async def stream() -> AsyncIterator[str]:
            seen, quiet = version, 0.0
            yield f"data: {json.dumps({'changed': []})}\n\n"
            while not closing.is_set():
                await asyncio.sleep(EVENT_SECONDS)
                now, changed = await run_in_threadpool(catalog.changes, seen)
                quiet += EVENT_SECONDS
                if now != seen:
                    seen, quiet = now, 0.0
                    event: dict[str, Any] = {"changed": changed} if len(changed) <= MOST_CHANGES else {"many": True}
                    yield f"data: {json.dumps(event)}\n\n"
                elif quiet >= ALIVE_SECONDS:
                    quiet = 0.0
                    yield ":\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    routes = [
        *(Route(path, page) for path in ("/", "/run/{name:path}", "/layers/{name:path}", "/compare")),
        Route("/static/{name}", static),
        Route("/api/runs", runs),
        Route("/api/run/{name:path}", one_run),
        Route("/api/sweeps", all_sweeps),
        Route("/api/layers/{name:path}", one_sweep),
        Route("/file/{name:path}", file),
        Route("/events", events),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={404: lambda request, error: _missing("page")}))


def _missing(what: str) -> Response:
    return PlainTextResponse(f"there is no such {what}", 404)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else default


def _matches(card: dict[str, Any] | None, words: list[str]) -> bool:
    """Whether every word is in what a card says."""
    if card is None:
        return False
    fields = ("name", "experiment", "network", "image", "weights", "settings", "state")
    text = " ".join([*(str(card.get(field, "")) for field in fields), *card.get("layers", ())])
    return all(word in text.casefold() for word in words)
