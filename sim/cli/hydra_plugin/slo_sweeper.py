"""``hydra/sweeper=slo``: walks the batch caps of each pool adaptively, and stops what cannot win.

The axes other than ``engine.max_num_seqs`` make pools. For all pools the listed caps run first (coarse), then caps
around each best (``refine``); a candidate is not given more replicas than could still be cheaper than the best so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sim.search import refined_caps

_CAP = "engine.max_num_seqs"


class SloSweeper(Sweeper):
    """A grid first, then a finer grid of batch caps around the best of each pool.

    Not a subclass of ``BasicSweeper``: Hydra executes that module a second time when it scans for plugins, and the
    class imported before is no longer the one its ``super()`` names.
    """

    def __init__(self, params: Mapping[str, str] | None = None, refine: bool = True) -> None:
        self._params = dict(params or {})
        self._refine = refine
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
        """Run the grid and its refinement; returns the jobs' returns, batch by batch."""
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*(f"{key}={axis}" for key, axis in self._params.items()), *arguments])
        (grid,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        self.validate_batch_is_legal(grid)
        returns = [self.launcher.launch(grid, initial_job_idx=0)]
        if self._refine:
            finer = self._finer(grid, [job.return_value for job in returns[0]])
            if finer:
                returns.append(self.launcher.launch(finer, initial_job_idx=len(grid)))
        return returns

    def _finer(self, grid: list[list[str]], outcomes: list[Any]) -> list[list[str]]:
        """Jobs with caps around the best of the whole grid, on the pool of that best."""
        best = min(range(len(grid)), key=lambda index: (float(outcomes[index]), index), default=None)
        if best is None or float(outcomes[best]) == float("inf"):
            return []
        pool, cap = _split(grid[best])
        if cap is None:
            return []
        caps = sorted({found for job in grid for rest, found in [_split(job)] if rest == pool and found is not None})
        return [[*pool, f"{_CAP}={finer}"] for finer in refined_caps(caps, cap)]


def _split(job: list[str]) -> tuple[list[str], int | None]:
    """A job's overrides without the cap, and the cap."""
    cap = next((override.partition("=")[2] for override in job if override.partition("=")[0] == _CAP), "")
    return [override for override in job if override.partition("=")[0] != _CAP], int(cap) if cap.isdigit() else None


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="slo",
    node={
        "_target_": "hydra_plugins.servecap.slo_sweeper.SloSweeper",
        "params": None,
        "refine": True,
    },
    provider="servecap",
)
