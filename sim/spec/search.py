"""What is searched, and how hard."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SearchSpec:
    """The inner problem of one job: the fewest replicas, or the highest load, whose percentiles meet the SLO."""

    solve: Literal["auto", "none", "replicas", "load"] = "auto"
    """auto: none in a single run; replicas in a sweep and in ``size``; none in a sweep over ``fleet.replicas``."""
    min_replicas: int = Field(default=1, ge=1, le=10_000)
    """The search for replicas begins here."""
    max_replicas: int = Field(default=64, ge=1, le=10_000)
    """The search for replicas ends here: a fleet of so many that misses the SLO is reported as a miss; an assumption."""
    max_usd_per_hour: float | None = Field(default=None, gt=0)
    """A fleet whose GPUs cost more an hour is not run; None = no budget."""
    load_tolerance: float = Field(default=0.02, gt=0, lt=1)
    """Relative width at which the bracket of the highest load is narrow enough; an assumption."""
    one_replica_load: bool = True
    """Also find the highest load that one replica sustains within the SLO (the continuous cost curve)."""
    replications: int = Field(default=3, ge=1, le=1000)
    """Runs of each point under seeds of its own, where something is random; a plain trace replay is run once. An
    assumption."""
    max_replications: int = Field(default=7, ge=1, le=1000)
    """Runs of a point whose replications disagree, at the most: once more than half of so many agree the others are not
    made; an assumption."""
    early_stop: bool = True
    """Give a run up as soon as its miss is certain. The verdicts are the same; False runs every miss to its end."""

    @model_validator(mode="after")
    def _check(self) -> SearchSpec:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"`min_replicas <= max_replicas` must hold, but got {self.min_replicas} and {self.max_replicas}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OutputSpec:
    """Which files a run leaves besides summary, cost, events and manifest."""

    requests: bool = True
    """``requests.parquet``: a row a request."""
    timeseries: bool = True
    """``timeseries.parquet``: what replicas held over time."""
    steps: bool = False
    """``steps.parquet``: a row an engine step; large."""
    report: bool = True
    """``report.html``, the page."""
    most_requests_in_memory: int = Field(default=30_000_000, ge=0)
    """A run of more keeps trace and records in files (``TMPDIR``; 170 bytes a request), in memory only what it works on. An
    assumption: they take 6 GB."""
