"""The routes of the page. Everything is read by this page's own script; answers of jobs are asked for until they end.

    GET  /                       the page (all this stands below a token that only the printed address holds)
    GET  /knobs, /knobs/find?q=  what can be turned
    POST /jobs                   {"overrides": ["gpu=h100", ...], "how": "preview"}, or another ``How``
    GET  /jobs/N                 its state, and its answer once it is done
    DELETE /jobs/N               cancels it
    GET  /jobs/N/report, /jobs/N/archive   of a folder that was asked for: its page, all of it

A page of another site can neither read answers (no CORS) nor ask (JSON bodies and DELETE need it, the Host must be this
machine's own and an Origin this page's), and neither it nor another user of the machine knows the token.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import shlex
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from sim.explore.desk import Desk, Job
from sim.explore.knobs import found, shelf
from sim.explore.work import How, Question

_MOST_BYTES = 64_000
_MOST_OVERRIDES = 200
_STATIC = {
    "explore.js": "sim.explore", "explore.css": "sim.explore", "page.css": "sim.report", "reading.js": "sim.report",
    "uplot/uPlot.iife.min.js": "sim.report", "uplot/uPlot.min.css": "sim.report",
}  # fmt: skip
"""What the page asks for: name and the room that has it; charts look and read as on a run's page."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class App:
    """The page of one ``desk``, on which ``overrides`` are turned already; it stands below ``/token/``."""

    def __init__(self, desk: Desk, overrides: tuple[str, ...]) -> None:
        self._desk = desk
        self._overrides = overrides
        self.token = secrets.token_urlsafe(16)

    def app(self, hosts: list[str] | None) -> Starlette:
        """The application; ``hosts``: the only names under which it answers (None: any)."""
        routes = [
            Route("/", self._page),
            Route("/static/{name:path}", self._static),
            Route("/start", self._start),
            Route("/knobs", self._knobs),
            Route("/knobs/find", self._find),
            Route("/command", self._command, methods=["POST"]),
            Route("/jobs", self._ask, methods=["POST"]),
            Route("/jobs/{number:int}", self._look, methods=["GET"]),
            Route("/jobs/{number:int}", self._cancel, methods=["DELETE"]),
            Route("/jobs/{number:int}/report", self._report),
            Route("/jobs/{number:int}/archive", self._archive),
        ]
        guards = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts else []
        return Starlette(routes=[Mount(f"/{self.token}", routes=routes)], middleware=guards, lifespan=self._life)

    @asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self._desk.close()

    async def _page(self, request: Request) -> Response:
        return _text("explore.html", "text/html")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return _wrong(f"there is no {name}", 404)
        return _text(name, "text/css" if name.endswith(".css") else "text/javascript", _STATIC[name])

    async def _start(self, request: Request) -> Response:
        return _json({"overrides": list(self._overrides)})

    async def _knobs(self, request: Request) -> Response:
        return _json(shelf())

    async def _find(self, request: Request) -> Response:
        return _json(await asyncio.to_thread(found, request.query_params.get("q", "")[:200]))

    async def _command(self, request: Request) -> Response:
        asked = await _asked(request)
        if isinstance(asked, Response):
            return asked
        return _json({"command": shlex.join(["servecap", "run", *asked.overrides])})

    async def _ask(self, request: Request) -> Response:
        asked = await _asked(request)
        return asked if isinstance(asked, Response) else _json(self._desk.ask(asked).shown())

    async def _look(self, request: Request) -> Response:
        job = self._job(request)
        return _wrong("this job is forgotten", 404) if job is None else _json(job.shown())

    async def _cancel(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return _wrong("this job is forgotten", 404)
        await self._desk.cancel(job)
        return _json(job.shown())

    async def _report(self, request: Request) -> Response:
        folder = self._folder(request)
        if folder is None:
            return _wrong("no run folder was written", 404)
        return FileResponse(folder / "report.html")  # which states its own content policy

    async def _archive(self, request: Request) -> Response:
        folder = self._folder(request)
        if folder is None:
            return _wrong("no run folder was written", 404)
        packed = await asyncio.to_thread(_archive_of, folder)
        name = {"Content-Disposition": 'attachment; filename="servecap-run.tar.gz"'}
        return Response(packed, media_type="application/gzip", headers=_HEADERS | name)

    def _job(self, request: Request) -> Job | None:
        return self._desk.job(request.path_params["number"])

    def _folder(self, request: Request) -> Path | None:
        job = self._job(request)
        told = job.answer.get("folder") if job is not None and job.answer is not None else None
        return None if told is None else Path(told)


def _archive_of(folder: Path) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        archive.add(folder, arcname="run")
    return body.getvalue()


async def _asked(request: Request) -> Question | Response:
    """The question of a request's JSON body, or what is wrong with it."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers["host"]:
        return _wrong("a question comes from this page", 403)
    if not request.headers.get("content-type", "").startswith("application/json"):
        return _wrong("a question is JSON", 415)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            return _wrong(f"a question has at most {_MOST_BYTES} bytes", 413)
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    overrides, how = (data.get("overrides"), data.get("how", "preview")) if isinstance(data, dict) else (None, None)
    if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
        return _wrong('a question is {"overrides": ["gpu=h100", ...], "how": "preview"}', 400)
    if len(overrides) > _MOST_OVERRIDES or how not in get_args(How):
        return _wrong(f"at most {_MOST_OVERRIDES} overrides, and `how` one of {', '.join(get_args(How))}", 400)
    return Question(tuple(overrides), cast(How, how))


def _text(name: str, kind: str, room: str = "sim.explore") -> Response:
    return Response(files(room).joinpath(name).read_text(encoding="utf-8"), media_type=kind, headers=_HEADERS)


def _json(data: Any) -> Response:
    return JSONResponse(data, headers=_HEADERS)


def _wrong(words: str, status: int) -> Response:
    return JSONResponse({"error": words}, status_code=status, headers=_HEADERS)
