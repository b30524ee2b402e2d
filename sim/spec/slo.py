"""The service level objective: percentiles that must hold."""

from __future__ import annotations

import re
from dataclasses import fields as dataclass_fields

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

_TARGET = re.compile(r"^(ttft|tpot|itl|e2e|queue)_p(\d{2}|\d{2}_\d+)_s$")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RouteSlo:
    """Targets of one route, seconds; None = not asked. Names: ``<metric>_<pNN>_s``."""

    ttft_p50_s: float | None = Field(default=None, gt=0)
    ttft_p90_s: float | None = Field(default=None, gt=0)
    ttft_p95_s: float | None = Field(default=None, gt=0)
    ttft_p99_s: float | None = Field(default=None, gt=0)
    tpot_p50_s: float | None = Field(default=None, gt=0)
    tpot_p90_s: float | None = Field(default=None, gt=0)
    tpot_p95_s: float | None = Field(default=None, gt=0)
    tpot_p99_s: float | None = Field(default=None, gt=0)
    itl_p95_s: float | None = Field(default=None, gt=0)
    itl_p99_s: float | None = Field(default=None, gt=0)
    e2e_p50_s: float | None = Field(default=None, gt=0)
    e2e_p90_s: float | None = Field(default=None, gt=0)
    e2e_p95_s: float | None = Field(default=None, gt=0)
    e2e_p99_s: float | None = Field(default=None, gt=0)

    def targets(self) -> dict[str, float]:
        """The limits asked for, by name (``ttft_p95_s``), seconds."""
        return {
            f.name: value
            for f in dataclass_fields(self)
            if _TARGET.match(f.name) and (value := getattr(self, f.name)) is not None
        }


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Slo(RouteSlo):
    """The whole objective: fleet-wide targets, and per-route targets in ``routes``."""

    name: str = "custom"
    routes: dict[str, RouteSlo] = Field(default_factory=dict)
    max_failed_fraction: float = Field(default=0.01, ge=0, le=1)
    """Share of requests that may fail, time out or be shed; more is a miss whatever the percentiles say."""
    source: str = ""
