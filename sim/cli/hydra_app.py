"""Hydra at the door: starts the application, and turns its ways of failing into ours.

Hydra ends its own override errors with exit code 1 and prints tracebacks of its own making. With ``HYDRA_FULL_ERROR``
set it raises instead, so every error passes through ``_message`` here and becomes exit code 2 and one message. Jobs
raise nothing: ``sim.cli.job`` returns outcomes and leaves ``job.json`` in its folder. That is why the sweep is finished
here, after Hydra has returned: its callbacks' exceptions would be swallowed, and skipped when a job fails.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra_plugins.servecap import grid_sweeper, joblib_launcher, optuna_sweeper, slo_sweeper
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sim.cli import folder_watch
from sim.cli.decide import decide_arguments
from sim.cli.folder_watch import Refused
from sim.cli.hydra_errors import message_of, raised_by_hydra
from sim.cli.job import JobOutcome, run_job
from sim.cli.overrides import as_hydra_reads
from sim.cli.progress import shown_progress
from sim.cli.shared_config import shared_folders
from sim.cli.shown import folder_override, shown_apart
from sim.cli.submitted_jobs import end_submitted
from sim.cli.sweep import finish_sweep
from sim.cli.trace_paths import with_traces_at_hand
from sim.errors import ConfigError, LauncherError, OutputError, SimError
from sim.search import DEFAULT_CAPS

_CAP = "engine.max_num_seqs"
_SHOWS = ("--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "--shell-completion", "-sc", "--version")
"""Flags with which Hydra prints something and runs nothing; it refuses them beside ``--multirun``."""


def run(argv: Sequence[str]) -> int:
    """One run, or whatever the Hydra flags in ``argv`` ask for (``-m``, ``--cfg``)."""
    arguments = list(argv)
    return _start(arguments, multirun="-m" in arguments or "--multirun" in arguments)


def sweep(argv: Sequence[str]) -> int:
    """A grid of jobs."""
    return _start(list(argv), multirun=True)


def size(argv: Sequence[str]) -> int:
    """The headline job: the fewest replicas for each batch cap and pool choice, then the cheapest of these."""
    defaults = {"search.solve": "replicas"}
    if not _only_shows(argv):
        defaults[_CAP] = ",".join(map(str, DEFAULT_CAPS))
        if not any(argument.startswith("hydra/sweeper=") for argument in argv):
            defaults |= {"hydra/sweeper": "slo", "hydra.sweeper.walk": "grid"}
    return _start(_with_defaults(argv, defaults), multirun=True)


def capacity(argv: Sequence[str]) -> int:
    """The highest load that one given configuration (or each of a grid) sustains within the SLO."""
    return run(_with_defaults(argv, {"search.solve": "load"}))


def decide(argv: Sequence[str]) -> int:
    """Options side by side at the same traffic and SLO."""
    return _start(decide_arguments(argv), multirun=False)


def _start(argv: list[str], *, multirun: bool) -> int:
    arguments, shown = shown_apart(argv)
    if shown.out is not None:
        arguments.append(folder_override(shown.out, multirun=multirun))
    outcomes: list[JobOutcome] = []

    def job(config: DictConfig) -> JobOutcome:
        outcome = run_job(config)
        outcomes.append(outcome)  # reaches the caller only from jobs that ran in this process
        return outcome

    grid_sweeper.register()
    slo_sweeper.register()
    optuna_sweeper.register()
    joblib_launcher.register()
    folder_watch.begin(quiet=shown.quiet)
    stopped: KeyboardInterrupt | LauncherError | None = None
    try:
        try:
            with shown_progress(quiet=shown.quiet or multirun):
                _hydra(arguments, job, multirun=multirun)
        except (KeyboardInterrupt, LauncherError) as error:
            stopped = error
        watched = folder_watch.watched()
        if watched is None or watched.jobs is None:
            if stopped is not None:
                raise stopped
            return outcomes[-1].tell(as_json=shown.json) if outcomes else 0
        watched.end_bar()
        if stopped is not None:
            note = end_submitted(watched.folder, watched.launcher, watched.since_s)
            for line in filter(None, (str(stopped), note)):
                print(f"servecap: {line}", file=sys.stderr)
        interrupted = isinstance(stopped, KeyboardInterrupt)
        code = finish_sweep(watched.folder, interrupted=interrupted, as_json=shown.json)
        return stopped.exit_code if isinstance(stopped, LauncherError) else code
    finally:
        watched = folder_watch.watched()
        if watched is not None:
            watched.give_back()


def _hydra(arguments: Sequence[str], job: Callable[[DictConfig], JobOutcome], *, multirun: bool) -> None:
    """Run ``job`` as Hydra reads ``arguments``.

    Raises:
        SimError: Hydra's refusal, in one message; ``LauncherError`` for what a launcher raises instead of its jobs.
    """
    try:
        with shared_folders(arguments) as own, _hydra_arguments(_in_hydras_words(own, multirun=multirun)):
            hydra.main(config_path="pkg://sim.configs", config_name="config", version_base="1.3")(job)()
    except Refused as refused:
        raise refused.error from None
    except (SimError, BrokenPipeError):
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # jobs raise nothing: these are Hydra's own
        raise ConfigError(message_of(error)) from None
    except Exception as error:
        watched = folder_watch.watched()
        if watched is not None and watched.launcher not in ("", "BasicLauncher", "JoblibLauncher"):
            words = " ".join(str(error).split())
            raise LauncherError(f"{watched.launcher} failed: {type(error).__name__}: {words}") from None
        if isinstance(error, OSError):
            raise OutputError(f"cannot write: {error}") from None
        if raised_by_hydra(error):
            raise ConfigError(f"Hydra can make nothing of this command ({type(error).__name__}: {error})") from None
        raise


def _in_hydras_words(arguments: Sequence[str], *, multirun: bool) -> list[str]:
    found = as_hydra_reads(arguments)
    if _only_shows(found):
        return [argument for argument in found if argument not in ("-m", "--multirun")]
    found = with_traces_at_hand(found)
    return _as_sweep(found) if multirun else found


def _as_sweep(argv: Sequence[str]) -> list[str]:
    """``argv`` as a multirun on all cores, without the inner search where the fleet's size is an axis."""
    arguments = [argument for argument in argv if argument not in ("-m", "--multirun")]
    for key, _, axis in (argument.partition("=") for argument in arguments):
        if axis.startswith("range(") and not any(True for _ in _values_of(key, axis)):
            raise ConfigError(f"{key}: {axis} holds no value")
    defaults = {}
    if any(a.lstrip("+").startswith("fleet.replicas=") and _is_sweep(a.partition("=")[2]) for a in arguments):
        defaults["search.solve"] = "none"
    if (os.cpu_count() or 1) > 1:
        defaults["hydra/launcher"] = "joblib"
    if "hydra/launcher=ray" in arguments and _joins_a_cluster(arguments):
        defaults["+hydra.launcher.ray.init.object_store_memory"] = "null"  # the launcher sets it; a cluster has its own
    return ["--multirun", *_with_defaults(arguments, defaults)]


def _with_defaults(argv: Sequence[str], defaults: Mapping[str, str]) -> list[str]:
    """``argv`` with each default that it does not set itself, put before its first override (flags may follow)."""
    arguments = list(argv)
    set_here = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    added = [f"{key}={value}" for key, value in defaults.items() if key.lstrip("+") not in set_here]
    first = next((i for i, a in enumerate(arguments) if "=" in a and not a.startswith("-")), 0)
    return [*arguments[:first], *added, *arguments[first:]]


def _joins_a_cluster(argv: Sequence[str]) -> bool:
    address = next((a.partition("=")[2] for a in argv if a.lstrip("+").startswith("hydra.launcher.ray.init.address=")), "")
    return address not in ("", "null", "local") or bool(os.environ.get("RAY_ADDRESS"))


def _only_shows(argv: Sequence[str]) -> bool:
    return any(argument.partition("=")[0] in _SHOWS for argument in argv)


def _values_of(key: str, axis: str) -> Iterator[str]:
    (parsed,) = OverridesParser.create().parse_overrides([f"{key}={axis}"])
    yield from parsed.sweep_string_iterator()


def _is_sweep(value: str) -> bool:
    return value.startswith(("choice(", "range(", "glob(")) or ("," in value and value[:1] not in "[{'\"")


@contextmanager
def _hydra_arguments(arguments: list[str]) -> Iterator[None]:
    """Hydra reads ``sys.argv`` and the environment; both are as they were afterwards."""
    argv, environment = sys.argv, dict(os.environ)
    sys.argv = [argv[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if any(argument.startswith("query=") for argument in arguments):
        os.environ["COMP_LINE"] = _line_to_complete(os.environ.get("COMP_LINE", ""))
    try:
        yield
    finally:
        sys.argv = argv
        for name in ("HYDRA_FULL_ERROR", "COMP_LINE"):
            os.environ.pop(name, None)
            if name in environment:
                os.environ[name] = environment[name]


def _line_to_complete(line: str) -> str:
    """What a shell asks to complete, as a line that Hydra can take apart: without ``python -m sim`` and verbs."""
    rest = re.sub(r"^\s*\S*python[\d.]*\s+-m\s+sim\b|^\s*\S+", "", line, count=1)
    return "servecap " + re.sub(r"^\s*(run|sweep|size|capacity)\s", "", rest, count=1).lstrip()
