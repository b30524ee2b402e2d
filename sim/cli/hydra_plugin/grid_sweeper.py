"""``hydra/sweeper=basic``, the default: every combination of the axes.

Hydra's own of this name composes all jobs before it launches the first, which takes minutes where there are hundreds; here
each key and each preset is composed once. What else it does is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn

from sim.cli.sweep_axes import StatedSweep
from sim.errors import ConfigError


class GridSweeper(StatedSweep):
    """Launches the grid, ``max_batch_size`` jobs at a time (None = all at once)."""

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None) -> None:
        super().__init__(params)
        if max_batch_size is not None and (type(max_batch_size) is not int or max_batch_size < 1):
            raise ConfigError(f"hydra.sweeper.max_batch_size >= 1 must hold, but got {max_batch_size!r}")
        self._max_batch_size = max_batch_size

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the grid; returns the jobs' returns, batch by batch."""
        returns: list[Sequence[JobReturn]] = []
        launched = 0
        for batch in BasicSweeper.split_arguments(self.stated(arguments), self._max_batch_size):
            self.check_words(batch)
            returns.append(self.launch(batch, launched))
            for job in returns[-1]:
                job.return_value  # noqa: B018 (raises what ended a job that failed, as Hydra's own sweeper does)
            launched += len(batch)
        return returns


def register() -> None:
    """Make the name ``basic`` ours."""
    Plugins.instance().register(GridSweeper)
    ConfigStore.instance().store(
        group="hydra/sweeper",
        name="basic",
        node={"_target_": f"{GridSweeper.__module__}.{GridSweeper.__name__}", "max_batch_size": None, "params": None},
        provider="servecap",
    )
