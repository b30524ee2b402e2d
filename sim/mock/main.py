"""``servecap mock``: an OpenAI-compatible endpoint that answers with the latencies of the simulated fleet.

    servecap mock gpu=h100 fleet.replicas=2 --port 8000
    vllm bench serve --base-url http://127.0.0.1:8000 --model llama3_8b ...

For gateways, load generators and dashboards before there is hardware. The configuration is a run's; its workload says only
how long answers are where a request does not. Loopback alone is listened on unless ``--host`` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

from sim.cli.compose import composed_scenario
from sim.cli.listening import check_port, names_of, serve
from sim.errors import ConfigError
from sim.workload.timeline import load_trace


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
        from sim.mock.api import Api
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'servecap[web]'") from None
    from sim.mock.stand_in import StandIn

    scenario = composed_scenario([*options.overrides, *(f"--config-dir={folder}" for folder in options.config_dir)])
    stand_in = StandIn(scenario, load_trace(scenario), options.speed, options.most_requests)
    app = Api(stand_in, scenario.model.name, scenario.workload.characters_per_token)

    def said(base: str) -> None:
        if options.json:
            print(json.dumps({"base_url": f"{base}/v1", "metrics": f"{base}/metrics", "speed": options.speed}), flush=True)
        else:
            print(f"Listening at {base}/v1 (OpenAI-compatible), metrics at {base}/metrics. Ctrl-C ends it.", flush=True)

    serve(app.app(names_of(options.host, "the mock")), options.host, options.port, said, options.for_s)
    return 0


def _check(options: argparse.Namespace) -> None:
    check_port(options.port)
    if not (math.isfinite(options.speed) and 0 < options.speed <= 1e4):
        raise ConfigError(f"--speed: a number above 0, at most 10000, but got {options.speed}")
    if not 1 <= options.most_requests <= 10_000_000:
        raise ConfigError(f"--most-requests: a number from 1 to 10,000,000, but got {options.most_requests}")
