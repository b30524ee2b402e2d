"""``servecap explore``: the page in the browser on which a scenario is turned knob by knob.

    servecap explore
    servecap explore gpu=h100 workload.path=my.csv --port 8400

Simulations run in processes of their own; this machine alone is listened on unless ``--host`` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import webbrowser
from collections.abc import Sequence

from sim.cli.compose import composed_scenario
from sim.cli.listening import check_port, is_loopback, names_of, serve
from sim.errors import ConfigError

DEFAULT_PORT = 8321


def main(argv: Sequence[str]) -> int:
    """Serve until Ctrl-C, or for as long as asked."""
    parser = argparse.ArgumentParser(prog="servecap explore", description="Turn a scenario's knobs in the browser.")
    parser.add_argument("overrides", nargs="*", help="where to begin, as for a run: model=... gpu=... workload.path=...")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"0: any free one (default: {DEFAULT_PORT})")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument("--workers", type=int, default=2, help="processes that simulate, at least 2 (default: 2)")
    parser.add_argument("--for-s", type=float, metavar="S", help="end by itself after so many seconds")
    parser.add_argument("--config-dir", action="append", default=[], help="a folder of your own presets")
    parser.add_argument("--json", action="store_true", help="say where it listens as one JSON object")
    options = parser.parse_intermixed_args(list(argv))
    check_port(options.port)
    if not 2 <= options.workers <= 64:
        raise ConfigError(f"--workers: a number from 2 to 64, but got {options.workers}")
    overrides = (*options.overrides, *(f"--config-dir={folder}" for folder in options.config_dir))
    composed_scenario(overrides)
    try:
        from sim.explore.app import App
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'servecap[web]'") from None
    from sim.explore.desk import Desk

    app = App(Desk(options.workers), overrides)

    def said(server: str) -> None:
        base = f"{server}/{app.token}"
        print(json.dumps({"url": base}) if options.json else f"Explore at {base}. Ctrl-C ends it.", flush=True)
        if not options.no_browser and is_loopback(options.host):
            webbrowser.open(base)

    hosts = names_of(options.host, "the page, and what its user may read")
    serve(app.app(hosts), options.host, options.port, said, options.for_s)
    return 0
