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
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sim.cli.sweep_axes import stated_overrides, telling_jobs
from sim.errors import ConfigError


class GridSweeper(Sweeper):
    """Launches the grid, ``max_batch_size`` jobs at a time (None = all at once). Not a subclass of ``BasicSweeper`` for the
    reason that ``SloSweeper`` gives."""

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None) -> None:
        if max_batch_size is not None and (type(max_batch_size) is not int or max_batch_size < 1):
            raise ConfigError(f"hydra.sweeper.max_batch_size >= 1 must hold, but got {max_batch_size!r}")
        self._max_batch_size = max_batch_size
        self._params = dict(params or {})
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra hands over what is needed to launch jobs."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the grid; returns the jobs' returns, batch by batch."""
        assert self.config is not None and self.hydra_context is not None, "Hydra calls setup first"
        assert self.launcher is not None, "Hydra calls setup first"
        overrides = stated_overrides(self.config, self.hydra_context, self._params, arguments)
        returns: list[Sequence[JobReturn]] = []
        launched = 0
        for batch in BasicSweeper.split_arguments(overrides, self._max_batch_size):
            self.validate_batch_is_legal(telling_jobs(batch, self.hydra_context))
            returns.append(self.launcher.launch(batch, initial_job_idx=launched))
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
