"""``servecap mock``: an OpenAI-compatible endpoint that answers with the latencies of the simulated fleet.

    servecap mock gpu=h100 fleet.replicas=2 --port 8000
    vllm bench serve --base-url http://127.0.0.1:8000 --model llama3_8b ...

For gateways, load generators and dashboards before there is hardware. The configuration is a run's; its workload says only
how long answers are where a request does not. Loopback alone is listened on unless ``--host`` says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import math
import sys
from collections.abc import Sequence

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.workload.timeline import load_trace

_MOST_CONNECTIONS = 10_000


def main(argv: Sequence[str]) -> int:
    """Serve until Ctrl-C, or for as long as asked."""
    parser = argparse.ArgumentParser(prog="servecap mock", description="A stand-in for the server that is not there yet.")
    parser.add_argument("overrides", nargs="*", help="as for a run: model=... gpu=... fleet.replicas=... gateway=...")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--speed", type=float, default=1.0, help="simulated seconds a second; below 1 is slow motion")
    parser.add_argument("--most-requests", type=int, default=100_000, help="requests before a new start (default: 100,000)")
    parser.add_argument("--for-s", type=float, metavar="S", help="end by itself after so many seconds")
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of your own presets")
    parser.add_argument("--json", action="store_true", help="say where it listens as one JSON object")
    options = parser.parse_intermixed_args(list(argv))
    _check(options)
    try:
        import uvicorn

        from sim.mock.api import Api
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'servecap[web]'") from None
    from sim.mock.stand_in import StandIn

    scenario = composed_scenario([*options.overrides, *(f"--config-dir={folder}" for folder in options.config_dir)])
    stand_in = StandIn(scenario, load_trace(scenario), options.speed, options.most_requests)
    hosts = ["127.0.0.1", "localhost", "::1", "[::1]"] if _is_loopback(options.host) else None
    app = Api(stand_in, scenario.model.name, scenario.workload.characters_per_token).app(hosts)
    config = uvicorn.Config(
        app, host=options.host, port=options.port, log_level="warning", limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=30, ws="none", access_log=False,
    )  # fmt: skip
    if hosts is None:
        print(f"servecap: --host {options.host}: whoever reaches this machine reaches the mock", file=sys.stderr)
    asyncio.run(_serve(uvicorn.Server(config), options))
    return 0


async def _serve(server: object, options: argparse.Namespace) -> None:
    """Run ``server`` (uvicorn's), and say where it listens once it does."""
    import uvicorn

    assert isinstance(server, uvicorn.Server)
    running = asyncio.create_task(server.serve())
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        raise ConfigError(f"--port {options.port}: cannot listen on {options.host}:{options.port}; is it taken?")
    port = server.servers[0].sockets[0].getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    base = f"http://{host}:{port}"
    if options.json:
        print(json.dumps({"base_url": f"{base}/v1", "metrics": f"{base}/metrics", "speed": options.speed}), flush=True)
    else:
        print(f"Listening at {base}/v1 (OpenAI-compatible), metrics at {base}/metrics. Ctrl-C ends it.", flush=True)
    if options.for_s is not None:
        await asyncio.wait([running], timeout=options.for_s)
        server.should_exit = True
    await running


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.port <= 65_535:
        raise ConfigError(f"--port: a number from 0 to 65535, but got {options.port}")
    if not (math.isfinite(options.speed) and 0 < options.speed <= 1e4):
        raise ConfigError(f"--speed: a number above 0, at most 10000, but got {options.speed}")
    if not 1 <= options.most_requests <= 10_000_000:
        raise ConfigError(f"--most-requests: a number from 1 to 10,000,000, but got {options.most_requests}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
