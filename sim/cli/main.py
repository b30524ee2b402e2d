"""The door: verbs, and what the process ends with.

``python -m sim [overrides]`` is a Hydra application; ``servecap VERB ...`` and ``python -m sim VERB ...`` are the same
program with verbs. Exit codes: 0 done, 1 a job crashed, 2 bad configuration, trace or argument (one message, no
traceback), 3 nothing that was allowed meets the SLO, 130 interrupted with everything finished so far kept.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from sim.cli.environment import any_terminal, fault, version
from sim.cli.front.help import verb_help
from sim.cli.front.verbs import HYDRA_VERBS, LONG, TAKE_OVERRIDES, own_flags
from sim.cli.front.words import as_overrides
from sim.cli.plain_words import check_flags, printable
from sim.errors import SimError
from sim.forms import form

CRASHED = 1
BAD_INPUT = 2
INTERRUPTED = 130

VERBS = {
    "run": ("sim.cli.hydra_app:run", "one run of one configuration (what is meant without a verb)"),
    "sweep": ("sim.cli.hydra_app:sweep", "a grid of configurations; the same as -m"),
    "size": ("sim.cli.hydra_app:size", "for each batch size the fewest replicas that meet the SLO; then the cheapest"),
    "capacity": ("sim.cli.hydra_app:capacity", "the highest arrival rate one configuration sustains within the SLO"),
    "decide": ("sim.cli.hydra_app:decide", "options side by side: fleets, APIs, hybrids; what flips the answer"),
    "compare": ("sim.cli.compare:main", "run folders or override sets side by side, with confidence intervals"),
    "calc": ("sim.cli.calc:main", "the closed formula: $ per 1M tokens, KV bytes, blocks that fit; no simulation"),
    "keys": ("sim.cli.keys:main", "every configuration key: unit, default, legal range, meaning"),
    "explain": ("sim.cli.keys:explain", "one key: what it means, its formula, where its default comes from"),
    "traces": ("sim.cli.traces:main", "stats, convert, synth, fit, fetch"),
    "prices": ("sim.cli.prices:main", "list, refresh: the dated price tables of GPUs and API models"),
    "calibrate": ("sim.trust.calibrate:main", "fit step times to measurements of your own server"),
    "conformance": ("sim.trust.conformance:main", "replay recorded scheduler cases step by step"),
    "validate": ("sim.trust.validate:main", "predict measured cases and print the error"),
    "explore": ("sim.explore.main:main", "the scenario in the browser: turn knobs, see verdict, bill and p95 at once"),
    "mock": ("sim.mock.main:main", "an OpenAI-compatible endpoint that answers as the simulated fleet would"),
    "export": ("sim.cli.export:main", "the deployment that a configuration means: Kubernetes, llm-d, Dynamo"),
    "guide": ("sim.cli.guide:main", "the reading pages: concepts, first half hour, own trace, own server, questions ..."),
    "completion": ("sim.cli.front.complete:main", "the script with which bash, zsh or fish complete all this"),
    "report": ("sim.cli.rewrite_report:main", "write the page of a run or sweep folder again"),
}
"""Verb -> (where its ``main(argv) -> exit code`` lives, one line of help). Imported only when asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    any_terminal()
    told = {name: text for name, (_, text) in VERBS.items()}
    if arguments[:1] == ["__complete"]:  # what a shell asks, see sim.cli.front.complete
        from sim.cli.front.complete import answer

        print(answer(told, *arguments[1:]))
        return 0
    verb, rest = (arguments[0], arguments[1:]) if arguments[:1] and arguments[0] in VERBS else ("run", arguments)
    try:
        if "--version" in rest:
            print(f"servecap {version()} ({form()})")
            return 0
        if arguments[:1] == ["help"]:  # servecap help VERB
            verb, rest = (arguments[1] if arguments[1:] and arguments[1] in VERBS else "run"), ["--help"]
        if verb in HYDRA_VERBS and ("--help" in rest or "-h" in rest):
            print(verb_help(verb, told, rest))
            return 0
        check_flags(rest)
        if verb in LONG:
            from sim.cli.progress import shown_progress

            kept = [word for word in rest if word not in ("--quiet", "-q")]
            with shown_progress(quiet=len(kept) < len(rest)):
                return _verb(verb)(as_overrides(kept, own_flags(verb)) if verb == "calibrate" else kept)
        return _verb(verb)(as_overrides(rest, own_flags(verb)) if verb in TAKE_OVERRIDES else rest)
    except SimError as error:
        print(f"servecap: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("servecap: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left, e.g. `| head`
        return CRASHED
    except Exception as error:
        found = fault(error)
        if found is not None:
            print(f"servecap: {printable(found)}", file=sys.stderr)
            return BAD_INPUT
        traceback.print_exc()
        print("servecap: this is a defect of servecap, not of your input", file=sys.stderr)
        return CRASHED


def _verb(name: str) -> Callable[[Sequence[str]], int]:
    """What an import makes lives to the end: the collector, which would look through it again and again, rests meanwhile."""
    module, _, function = VERBS[name][0].partition(":")
    gc.disable()
    found: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
    gc.freeze()
    gc.enable()
    return found

