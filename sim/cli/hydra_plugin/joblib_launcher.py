"""``hydra/launcher=joblib``: the jobs of a sweep on the cores of this machine, ``n_jobs`` at a time (``JobProcesses``).

Hydra loads every plug-in at each command, `calc` among them: what only a launch needs is imported by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sim.errors import ConfigError

if TYPE_CHECKING:
    from sim.cli.job_processes import JobProcesses


class JoblibLauncher(Launcher):
    """Runs jobs in processes; a job whose process dies is a crashed job."""

    def __init__(self, n_jobs: int = -1) -> None:
        if type(n_jobs) is not int or n_jobs == 0:
            raise ConfigError(f"hydra.launcher.n_jobs: a number of processes, or -1 for one a core, but got {n_jobs!r}")
        self._n_jobs = n_jobs
        self._processes: JobProcesses | None = None
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra hands over what is needed to run a job."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, numbered from ``initial_job_idx``; their returns in the order of ``job_overrides``."""
        from sim.cli.job_processes import JobProcesses

        setup_globals()
        assert self.config is not None, "Hydra calls setup first"
        assert self.hydra_context is not None and self.task_function is not None, "Hydra calls setup first"
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if self._processes is None:
            self._processes = JobProcesses(self._n_jobs, self.hydra_context, self.config, self.task_function)
        return self._processes.run(job_overrides, initial_job_idx)


def register() -> None:
    """Make the name ``joblib`` ours, also beside the older plug-in of that name."""
    Plugins.instance().register(JoblibLauncher)
    ConfigStore.instance().store(
        group="hydra/launcher",
        name="joblib",
        node={"_target_": f"{JoblibLauncher.__module__}.{JoblibLauncher.__name__}", "n_jobs": -1},
        provider="servecap",
    )
