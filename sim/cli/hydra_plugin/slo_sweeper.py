"""``hydra/sweeper=slo``: walks the batch caps of each pool adaptively, and stops what cannot win.

The axes other than ``engine.max_num_seqs`` make pools. ``walk=adaptive`` gives each pool a ``cap_walk``: the pools' next
caps are launched together, each with the best dollars an hour so far as its budget. ``walk=grid`` runs every listed cap
(``size`` does, for its table), then caps around the best (``refine``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn

from sim.cli.sweep_axes import StatedSweep

if TYPE_CHECKING:  # Hydra loads every plug-in at each command, and a search's imports take longer than `calc`
    from sim.search import CapWalk

_CAP, _BUDGET = "engine.max_num_seqs", "search.max_usd_per_hour"


class SloSweeper(StatedSweep):
    """Asks ``sim.search`` which jobs to launch next."""

    def __init__(self, params: Mapping[str, str] | None = None, walk: str = "adaptive", refine: bool = True) -> None:
        super().__init__(params)
        if walk not in ("adaptive", "grid"):
            raise ValueError(f"hydra.sweeper.walk: adaptive or grid, but got {walk!r}")
        self._walk = walk
        self._refine = refine
        self._launched = 0

    def sweep(self, arguments: list[str]) -> Any:
        """Launch what the walk asks for; returns the jobs' returns, batch by batch."""
        (grid,) = BasicSweeper.split_arguments(self.stated(arguments), max_batch_size=None)
        self.check_words(grid)
        return self._run_grid(grid) if self._walk == "grid" else self._run_walks(grid)

    def _launch(self, jobs: list[list[str]]) -> Sequence[JobReturn]:
        returns = self.launch(jobs, self._launched)
        self._launched += len(jobs)
        return returns

    def _run_grid(self, grid: list[list[str]]) -> list[Sequence[JobReturn]]:
        from sim.search import refined_caps

        returns = [self._launch(grid)]
        outcomes = [job.return_value for job in returns[0]]
        best = min(range(len(grid)), key=lambda index: (float(outcomes[index]), index))
        pool, cap = _split(grid[best])
        if self._refine and cap is not None and float(outcomes[best]) < float("inf"):
            caps = [found for job in grid for rest, found in [_split(job)] if rest == pool and found is not None]
            finer = [[*pool, f"{_CAP}={new}"] for new in refined_caps(caps, cap)]
            if finer:
                returns.append(self._launch(finer))
        return returns

    def _run_walks(self, grid: list[list[str]]) -> list[Sequence[JobReturn]]:
        from sim.search import Trial, cap_walk

        pools: dict[tuple[str, ...], list[int]] = {}
        for job in grid:
            pool, cap = _split(job)
            pools.setdefault(tuple(pool), []).extend([] if cap is None else [cap])
        without_caps = [list(pool) for pool, caps in pools.items() if not caps]
        returns = [self._launch(without_caps)] if without_caps else []
        walks: dict[tuple[str, ...], CapWalk] = {pool: cap_walk(caps) for pool, caps in pools.items() if caps}
        following = {pool: next(walk) for pool, walk in walks.items()}
        budget = float("inf")
        while following:
            batch = self._launch([[*p, f"{_CAP}={cap}", *_budget(p, budget)] for p, cap in following.items()])
            returns.append(batch)
            tried, following = list(following), {}
            for walked, returned in zip(tried, batch, strict=True):
                outcome = returned.return_value
                if float(outcome) < float("inf"):
                    budget = min(budget, outcome.gpu_usd_per_hour)
                try:
                    following[walked] = walks[walked].send(outcome.trial or Trial(holds=False))
                except StopIteration:
                    continue
        return returns


def _budget(pool: tuple[str, ...], usd_per_hour: float) -> list[str]:
    """The budget as an override, where there is one and the user set none."""
    own = any(override.startswith(f"{_BUDGET}=") for override in pool)
    return [] if own or usd_per_hour == float("inf") else [f"{_BUDGET}={usd_per_hour!r}"]


def _split(job: Sequence[str]) -> tuple[list[str], int | None]:
    """A job's overrides without the cap, and the cap."""
    cap = next((override.partition("=")[2] for override in job if override.partition("=")[0] == _CAP), "")
    return [override for override in job if override.partition("=")[0] != _CAP], int(cap) if cap.isdigit() else None


def register() -> None:
    """Hydra's scanner does not see mapped packages in editable installs."""
    Plugins.instance().register(SloSweeper)
    ConfigStore.instance().store(
        group="hydra/sweeper",
        name="slo",
        node={
            "_target_": f"{SloSweeper.__module__}.{SloSweeper.__name__}",
            "params": None,
            "walk": "adaptive",
            "refine": True,
        },
        provider="servecap",
    )
