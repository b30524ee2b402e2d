"""The OpenAI-compatible face of a ``StandIn``: completions and chat, streamed or whole, errors as vLLM sends them, /metrics.

Prompts count their tokens: a list of token ids exactly, text at ``workload.characters_per_token``. An answer is
``max_tokens`` long with ``ignore_eos``, else as long as some answer of the workload, at most ``max_tokens``. Its text is
filler. Bodies are bounded; nothing is stored, called or written.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sim.mock.stand_in import StandIn
from sim.record.result import ANSWERED
from sim.report.openmetrics import CONTENT_TYPE, openmetrics
from sim.run.live import Ended

MOST_BODY_BYTES = 8 << 20
"""A prompt of a million tokens; more is refused unread."""
MOST_TOKENS = 10_000_000
_WORD = " token"
_STATUS = {"shed": 429, "rejected": 400, "timed_out": 408, "failed": 503}
_TYPES = {429: "RateLimitError", 400: "BadRequestError", 408: "APITimeoutError", 503: "ServiceUnavailableError"}


class Refused(Exception):
    """What is wrong with a request, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Routes of one stand-in that serves ``model``; text has ``characters_per_token``."""

    def __init__(self, stand_in: StandIn, model: str, characters_per_token: float) -> None:
        self._stand_in = stand_in
        self._model = model
        self._characters = characters_per_token
        self._number = 0

    def app(self, hosts: list[str] | None) -> Starlette:
        """The ASGI application; ``hosts``: what a request's Host may say, None = anything."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await _streamed_once()
            driver = asyncio.create_task(self._stand_in.drive())
            await asyncio.sleep(0)
            try:
                yield
            finally:
                driver.cancel()
                with suppress(asyncio.CancelledError):
                    await driver

        routes = [
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models), Route("/metrics", self._metrics),
            Route("/health", self._health), Route("/ping", self._health), Route("/version", self._version),
        ]  # fmt: skip
        middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts is not None else []
        return Starlette(routes=routes, lifespan=lifespan, middleware=middleware)

    async def _completions(self, request: Request) -> Response:
        return await self._answered(request, chat=False)

    async def _chat(self, request: Request) -> Response:
        return await self._answered(request, chat=True)

    async def _answered(self, request: Request, *, chat: bool) -> Response:
        came_s = self._stand_in.clock_s()
        try:
            asked = await _body(request)
            prompt = self._prompt_tokens(asked, chat=chat)
            output = self._output_tokens(asked)
            if asked.get("n") not in (None, 1):
                raise Refused(400, f"n: one answer a request is what is simulated, but got {asked['n']!r}")
        except Refused as refused:
            return _error(refused.status, str(refused))
        self._number += 1
        head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{self._number}", "created": int(time.time()),
            "model": str(asked.get("model") or self._model),
        }  # fmt: skip
        tokens = self._stand_in.answer(prompt, output, came_s)
        first = await anext(tokens)
        if isinstance(first, Ended) and first.outcome not in ANSWERED:
            return _error(_STATUS[first.outcome], first.reason or first.outcome)
        if asked.get("stream"):
            options = asked.get("stream_options")
            usage = prompt if isinstance(options, dict) and options.get("include_usage") else None
            events = _events(tokens, first, head, chat=chat, usage=usage, limit=_limit(asked))
            return StreamingResponse(events, media_type="text/event-stream")
        ended = first
        async for found in tokens:
            ended = found
        if ended is None or ended.outcome not in ANSWERED:
            return _error(_STATUS.get("failed" if ended is None else ended.outcome, 503), "the answer broke off")
        text = _WORD * ended.output_tokens
        choice: dict[str, Any] = {"index": 0, "finish_reason": _finish(_limit(asked), ended), "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        kind = "chat.completion" if chat else "text_completion"
        return JSONResponse({**head, "object": kind, "choices": [choice], "usage": _usage(prompt, ended.output_tokens)})

    async def _models(self, _: Request) -> Response:
        card = {"id": self._model, "object": "model", "created": 0, "owned_by": "servecap"}
        return JSONResponse({"object": "list", "data": [card]})

    async def _metrics(self, _: Request) -> Response:
        text = openmetrics([(None, self._stand_in.scraped())], self._model)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def _health(self, _: Request) -> Response:
        ready = self._stand_in.fleet.roster.endpoints.ready
        return PlainTextResponse("" if ready else "no server is ready", status_code=200 if ready else 503)

    async def _version(self, _: Request) -> Response:
        return JSONResponse({"version": "servecap mock"})

    def _prompt_tokens(self, asked: dict[str, Any], *, chat: bool) -> int:
        if chat:
            messages = asked.get("messages")
            if not isinstance(messages, list) or not messages:
                raise Refused(400, "messages: expected a list of messages")
            text = sum(len(json.dumps(one.get("content", ""))) for one in messages if isinstance(one, dict))
            return max(1, round(text / self._characters))
        prompt = asked.get("prompt")
        if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
            return len(prompt)
        if not isinstance(prompt, str) or not prompt:
            raise Refused(400, "prompt: expected text or a list of token ids")
        return max(1, round(len(prompt) / self._characters))

    def _output_tokens(self, asked: dict[str, Any]) -> int:
        stated = _limit(asked)
        if stated is None:
            return self._stand_in.drawn_output_tokens()
        if isinstance(stated, bool) or not isinstance(stated, int) or not 1 <= stated <= MOST_TOKENS:
            raise Refused(400, f"max_tokens: expected a whole number from 1 to {MOST_TOKENS}, but got {stated!r}")
        return stated if asked.get("ignore_eos") else min(stated, self._stand_in.drawn_output_tokens())


async def _streamed_once() -> None:
    """A stream to nobody: the web libraries load what they need for the first, and the first client would wait 70 ms."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    async def nothing() -> AsyncIterator[str]:
        yield ""

    await StreamingResponse(nothing())({"type": "http"}, receive, send)


async def _events(
    tokens: AsyncIterator[Ended | None],
    first: Ended | None,
    head: dict[str, Any],
    *,
    chat: bool,
    usage: int | None,
    limit: object,
) -> AsyncIterator[str]:
    """Server-sent events: one a token, the last with why it ended, then the usage if asked for, then [DONE]."""
    kind = "chat.completion.chunk" if chat else "text_completion"

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**head, 'object': kind, 'choices': choices, **more})}\n\n"

    def token(text: str, finish: str | None = None) -> str:
        part = {"delta": {"role": "assistant", "content": text}} if chat else {"text": text}
        return event([{"index": 0, **part, "logprobs": None, "finish_reason": finish}])

    found: Ended | None = first
    while found is None:
        yield token(_WORD)
        found = await anext(tokens)
    if found.outcome not in ANSWERED:
        yield f"data: {json.dumps({'error': _fault(_STATUS[found.outcome], found.reason or found.outcome)})}\n\n"
    else:
        yield token(_WORD, _finish(limit, found))
        if usage is not None:
            yield event([], usage=_usage(usage, found.output_tokens))
    yield "data: [DONE]\n\n"


def _limit(asked: dict[str, Any]) -> Any:
    """The limit of the answer's tokens that a request states; None = none."""
    newer = asked.get("max_completion_tokens")
    return asked.get("max_tokens") if newer is None else newer


def _finish(limit: object, ended: Ended) -> str:
    """Why an answer ended, in OpenAI's words."""
    return "length" if ended.output_tokens == limit else "stop"


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, read up to ``MOST_BODY_BYTES``."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BODY_BYTES:
            raise Refused(413, f"the body is larger than {MOST_BODY_BYTES >> 20} MiB")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object")
    return found


def _fault(status: int, message: str) -> dict[str, Any]:
    return {"message": message, "type": _TYPES.get(status, "BadRequestError"), "param": None, "code": status}


def _error(status: int, message: str) -> Response:
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": _fault(status, message)}, status_code=status, headers=headers)


def _usage(prompt: int, output: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
