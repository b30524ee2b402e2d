"""A streaming client of our own: sends completions at given times and measures what a load generator measures."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Measured:
    """One answer as the client saw it; seconds of its own clock."""

    status: int = 0
    sent_s: float = 0.0
    token_s: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ttft_s(self) -> float:
        return self.token_s[0] - self.sent_s

    @property
    def tpot_s(self) -> float:
        return (self.token_s[-1] - self.token_s[0]) / (len(self.token_s) - 1)

    @property
    def e2e_s(self) -> float:
        return self.token_s[-1] - self.sent_s


async def post(port: int, path: str, data: object, host: str = "127.0.0.1", method: str = "POST") -> Measured:
    """One request over a connection of its own."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    found = Measured(sent_s=loop.time())
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    found.status = int((await reader.readline()).split()[1])
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        found.headers[name.lower()] = value.strip()
    with suppress(ConnectionResetError):  # a server that refuses a body does not read it to its end
        while line := await reader.readline():  # chunk sizes are lines that are no events
            text = line.decode().strip()
            if text.startswith("data: "):
                found.events.append(text[6:])
                if text != "data: [DONE]" and json.loads(text[6:]).get("choices"):
                    found.token_s.append(loop.time())
            else:
                found.body += line.decode()
    writer.close()
    return found


async def replay(port: int, requests: list[tuple[float, int, int]], speed: float) -> list[Measured]:
    """(arrival s, prompt tokens, answer tokens) sent at their times, in a world ``speed`` times as fast."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1

    async def one(arrival_s: float, prompt: int, output: int) -> Measured:
        body = {"prompt": [1] * prompt, "max_tokens": output, "ignore_eos": True, "stream": True}
        await asyncio.sleep(max(start + arrival_s / speed - loop.time(), 0.0))
        return await post(port, "/v1/completions", body)

    return list(await asyncio.gather(*(one(*request) for request in requests)))
