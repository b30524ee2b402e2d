"""``FolderWatch``: the Hydra callback that takes the folder of a run or sweep, and shows a sweep's progress.

A folder whose name is made from the time is made anew, so that two commands of one second get two; one that the user
names is claimed. Whatever launcher runs the jobs, each leaves ``job.json`` in its folder when it ends; the bar counts these
files. This module's variables are the only channel that Hydra leaves from its inside to the door.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sim.cli.folder_claim import claim, made_folder, release
from sim.cli.progress import PLAIN_S, PROGRESS, say
from sim.errors import ConfigError, OutputError, SimError

_POLL_S = 0.25
_MOST_RUNNING = 2

_current: Watched | None = None
_quiet = False


class Refused(SystemExit):
    """How a callback stops Hydra, which turns exceptions of callbacks into warnings."""

    def __init__(self, error: SimError) -> None:
        super().__init__(error.exit_code)
        self.error = error


class FolderWatch(Callback):
    """Holds nothing: launchers send it to other processes."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this before it makes the folder of a single run."""
        global _current  # noqa: PLW0603 (see the module's head)
        _current = Watched(_taken(config, "run"), None, "")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this in the process that started the sweep, before its first job."""
        global _current  # noqa: PLW0603 (see the module's head)
        for name in ("sweeper", "launcher"):
            if not isinstance(config.hydra[name], DictConfig):
                raise Refused(ConfigError(f"hydra.{name}: expected a mapping, but got {config.hydra[name]!r}"))
        launcher = str(config.hydra.launcher.get("_target_")).rpartition(".")[2]
        _current = Watched(_taken(config, "sweep"), _count_jobs(config), launcher)


def _taken(config: DictConfig, kind: Literal["run", "sweep"]) -> Path:
    """The folder of the command, now this process's alone."""
    wanted = Path(config.hydra[kind].dir)
    stated = any(one.lstrip("+").startswith(f"hydra.{kind}.dir=") for one in config.hydra.overrides.hydra)
    try:
        folder = wanted if stated else made_folder(wanted)
        claim(folder)
    except OutputError as error:
        raise Refused(error) from None
    except OSError as error:
        raise Refused(OutputError(f"{wanted}: cannot be made ({error.strerror or error})")) from None
    if folder != wanted:
        config.hydra[kind].dir = str(folder)
        config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={folder}")  # for the jobs, which compose once more
    return folder.absolute()


class Watched:
    """The folder that a command writes to; of a sweep with a bar on stderr, drawn by a thread of its own."""

    def __init__(self, folder: Path, jobs: int | None, launcher: str) -> None:
        self.folder = folder
        self.jobs = jobs
        """How many a sweep will have, as far as its axes tell; None: it is a single run."""
        self.launcher = launcher
        """The name of the class that runs the jobs of a sweep."""
        self.since_s = time.time()
        """When the command took the folder, Unix time."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        if jobs is not None and not _quiet:
            self._thread.start()

    def end_bar(self) -> None:
        """No more is shown."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def give_back(self) -> None:
        """The folder is free for other commands."""
        self.end_bar()
        release(self.folder)

    def _show(self) -> None:
        console = Console(stderr=True)
        if not console.is_terminal:
            while not self._over.wait(PLAIN_S):
                say(f"{self._done()} of {max(self.jobs or 0, self._done())} jobs{self._eta()}{self._running()}")
            return
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("jobs", total=self.jobs)
            over = False
            while not over:
                over = self._over.wait(_POLL_S)
                done = self._done()
                words = f"jobs{self._running()}"
                progress.update(task, completed=done, total=max(self.jobs or 0, done), description=words)

    def _done(self) -> int:
        return sum(1 for _ in self.folder.glob("*/job.json"))

    def _eta(self) -> str:
        done = self._done()
        if not done or done >= (self.jobs or 0):
            return ""
        left_s = (time.time() - self.since_s) / done * ((self.jobs or 0) - done)
        return f", about {left_s:,.0f} s left"

    def _running(self) -> str:
        """What the jobs in work say of themselves, the first ones'."""
        lines = []
        for file in sorted(self.folder.glob(f"*/{PROGRESS}"))[:_MOST_RUNNING]:
            with contextlib.suppress(OSError):
                lines.append(f"job {file.parent.name} {file.read_text(encoding='utf-8')}".strip())
        return f" ({'; '.join(lines)})" if lines else ""


def begin(*, quiet: bool = False) -> None:
    """Before a new call of Hydra: no folder is known, and progress is shown unless ``quiet``."""
    global _current, _quiet
    _current, _quiet = None, quiet


def watched() -> Watched | None:
    """The folder that was taken since ``begin``."""
    return _current


def _count_jobs(config: DictConfig) -> int:
    """The product of the axes' lengths, as the sweeper will walk them."""
    axes = [*config.hydra.overrides.task]
    axes += [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    count = 1
    for override in OverridesParser.create().parse_overrides(axes):
        if override.is_sweep_override() and override.is_discrete_sweep():
            count *= sum(1 for _ in override.sweep_string_iterator())
    return count
