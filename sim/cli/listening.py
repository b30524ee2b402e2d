"""Serving a page or an endpoint (extra ``[web]``): on loopback alone, unless another address is asked for."""

from __future__ import annotations

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from typing import Any

from sim.errors import ConfigError

_MOST_CONNECTIONS = 10_000


def names_of(host: str, what: str) -> list[str] | None:
    """What a request's Host may say where ``host`` is loopback, so that no page of another site reaches it by a name of its
    own; None (anything) elsewhere, which is said on stderr."""
    if is_loopback(host):
        return ["127.0.0.1", "localhost", "::1", "[::1]"]
    print(f"servecap: --host {host}: whoever reaches this machine reaches {what}", file=sys.stderr)
    return None


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine to itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(port: int) -> None:
    """Raise ``ConfigError`` unless ``port`` is one, or 0 (any free one)."""
    if not 0 <= port <= 65_535:
        raise ConfigError(f"--port: a number from 0 to 65535, but got {port}")


def serve(app: Any, host: str, port: int, said: Callable[[str], None], for_s: float | None = None) -> None:
    """Serve the ASGI application ``app`` until Ctrl-C, or ``for_s`` seconds; ``said`` hears its address once it listens.

    Raises:
        ConfigError: the port is taken, or uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise ConfigError("uvicorn is not installed: pip install 'servecap[web]'") from None
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=30, ws="none", access_log=False,
    )  # fmt: skip
    asyncio.run(_run(uvicorn.Server(config), host, port, said, for_s))


async def _run(server: Any, host: str, port: int, said: Callable[[str], None], for_s: float | None) -> None:
    running = asyncio.create_task(server.serve())
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        raise ConfigError(f"--port {port}: cannot listen on {host}:{port}; is it taken?")
    found = server.servers[0].sockets[0].getsockname()[1]
    said(f"http://{f'[{host}]' if ':' in host else host}:{found}")
    if for_s is not None:
        await asyncio.wait([running], timeout=for_s)
        server.should_exit = True
    await running
