"""``SweepWatch``: the Hydra callback that tells the command line where a sweep lies, and shows its progress.

Whatever launcher runs the jobs, each leaves ``job.json`` in its folder when it ends; the bar counts these files. This
module's one variable is the only channel that Hydra leaves from its inside to the door.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

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

_POLL_S = 0.25

_current: _Bar | None = None


class SweepWatch(Callback):
    """Starts the bar of a sweep. Holds nothing: launchers send it to other processes."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this in the process that started the sweep, before its first job."""
        global _current  # noqa: PLW0603 (see the module's head)
        _current = _Bar(Path(config.hydra.sweep.dir).absolute(), _count_jobs(config))


class _Bar:
    """One bar for the whole sweep on stderr, with the time left, drawn by a thread of its own."""

    def __init__(self, folder: Path, total: int) -> None:
        self.folder = folder
        self._total = total
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the bar."""
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        console = Console(stderr=True)
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("jobs", total=self._total)
            over = False
            while not over:
                over = self._over.wait(_POLL_S)
                done = sum(1 for _ in self.folder.glob("*/job.json"))
                progress.update(task, completed=done, total=max(self._total, done))


def forget() -> None:
    """Before a new call of Hydra: no sweep is known."""
    global _current  # noqa: PLW0603 (see the module's head)
    _current = None


def stop() -> str | None:
    """End the bar; the folder of the sweep that was started since ``forget``, or None."""
    if _current is None:
        return None
    _current.close()
    return str(_current.folder)


def _count_jobs(config: DictConfig) -> int:
    """The product of the axes' lengths, as the sweeper will walk them."""
    axes = [*config.hydra.overrides.task]
    axes += [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    count = 1
    for override in OverridesParser.create().parse_overrides(axes):
        if override.is_sweep_override() and override.is_discrete_sweep():
            count *= sum(1 for _ in override.sweep_string_iterator())
    return count
