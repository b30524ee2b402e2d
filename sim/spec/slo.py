"""The service level objective: percentiles that must hold."""

from __future__ import annotations

import math
import re
from dataclasses import fields as dataclass_fields
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from sim.spec.strict import STRICT

TARGET = re.compile(r"(ttft|tpot|itl|e2e|queue)_p(0[1-9]|[1-9]\d|99\d+)_s")
"""``<metric>_<pNN>_s``; p999 is the quantile 0.999."""


POLICY_ANSWERS = frozenset({"safety"})
"""Reasons of a rejection that are an answer: the policy did what it is there for."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RouteSlo:
    """Targets of one route, seconds; None = not asked. Names: ``<metric>_<pNN>_s``."""

    ttft_p50_s: float | None = Field(default=None, gt=0)
    """Limit of the 50th percentile of TTFT, from a request's send to its first token; None = not asked."""
    ttft_p90_s: float | None = Field(default=None, gt=0)
    """Limit of the 90th percentile of TTFT, from a request's send to its first token; None = not asked."""
    ttft_p95_s: float | None = Field(default=None, gt=0)
    """Limit of the 95th percentile of TTFT, from a request's send to its first token; None = not asked."""
    ttft_p99_s: float | None = Field(default=None, gt=0)
    """Limit of the 99th percentile of TTFT, from a request's send to its first token; None = not asked."""
    tpot_p50_s: float | None = Field(default=None, gt=0)
    """Limit of the 50th percentile of TPOT, (finish - first token) / (output tokens - 1); None = not asked."""
    tpot_p90_s: float | None = Field(default=None, gt=0)
    """Limit of the 90th percentile of TPOT, (finish - first token) / (output tokens - 1); None = not asked."""
    tpot_p95_s: float | None = Field(default=None, gt=0)
    """Limit of the 95th percentile of TPOT, (finish - first token) / (output tokens - 1); None = not asked."""
    tpot_p99_s: float | None = Field(default=None, gt=0)
    """Limit of the 99th percentile of TPOT, (finish - first token) / (output tokens - 1); None = not asked."""
    itl_p95_s: float | None = Field(default=None, gt=0)
    """Limit of the 95th percentile of ITL, the time between two tokens of an answer; None = not asked."""
    itl_p99_s: float | None = Field(default=None, gt=0)
    """Limit of the 99th percentile of ITL, the time between two tokens of an answer; None = not asked."""
    e2e_p50_s: float | None = Field(default=None, gt=0)
    """Limit of the 50th percentile of E2E, from a request's send to its last token; None = not asked."""
    e2e_p90_s: float | None = Field(default=None, gt=0)
    """Limit of the 90th percentile of E2E, from a request's send to its last token; None = not asked."""
    e2e_p95_s: float | None = Field(default=None, gt=0)
    """Limit of the 95th percentile of E2E, from a request's send to its last token; None = not asked."""
    e2e_p99_s: float | None = Field(default=None, gt=0)
    """Limit of the 99th percentile of E2E, from a request's send to its last token; None = not asked."""
    percentiles: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Every other percentile that is asked, stated like those above: ``ttft_p75_s``, ``queue_p95_s``, ``e2e_p999_s``."""

    @model_validator(mode="before")
    @classmethod
    def _gather_percentiles(cls, data: Any) -> Any:
        values = data.kwargs if isinstance(data, ArgsKwargs) else data
        if not isinstance(values, dict):
            return data
        own = {field.name for field in dataclass_fields(cls)}
        others = {name: limit for name, limit in values.items() if TARGET.fullmatch(name) and name not in own}
        if not others:
            return data
        kept = {name: value for name, value in values.items() if name not in others}
        asked = {name: limit for name, limit in others.items() if limit is not None}
        return {**kept, "percentiles": {**(values.get("percentiles") or {}), **asked}}

    @model_validator(mode="after")
    def _check(self) -> RouteSlo:
        for name in self.percentiles:
            if not TARGET.fullmatch(name):
                raise ValueError(f"percentiles are called <metric>_<pNN>_s, e.g. ttft_p75_s, but got {name!r}")
        return self

    def targets(self) -> dict[str, float]:
        """The limits asked for, by name (``ttft_p95_s``), seconds."""
        fixed = {
            f.name: value
            for f in dataclass_fields(self)
            if TARGET.fullmatch(f.name) and (value := getattr(self, f.name)) is not None
        }
        return fixed | self.percentiles


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Slo(RouteSlo):
    """The whole objective: fleet-wide targets, and per-route targets in ``routes``."""

    name: str = "custom"
    """What pages call it."""
    routes: dict[str, RouteSlo] = Field(default_factory=dict)
    """Targets of single routes; a route's own replace the fleet's for its requests."""
    tenants: dict[str, RouteSlo] = Field(default_factory=dict)
    """Targets of single tenants, likewise; a request whose route and tenant both have targets must meet both."""
    max_failed_fraction: float = Field(default=0.01, ge=0, le=1)
    """Share of requests that may fail, time out or be shed; more is a miss whatever the percentiles say. An
    assumption."""
    rejected_is_miss: bool | dict[str, bool] = Field(default_factory=dict)
    """Whether a rejected request is a miss, by reason (``safety``, ``too_long``, ...), or for all: a safety pass that blocks
    a prompt has answered it, a prompt that is too long got nothing. Unstated: false for safety, true for every other."""
    source: str = ""
    """Where the targets are from; for display."""

    def ttft_target_s(self, route: str, tenant: str) -> float:
        """When the first token of a request is due, seconds after its send: its highest percentile's limit of TTFT, the
        stricter of its route's and its tenant's, else the fleet's; infinite where none is asked."""
        own = [targets[name] for targets, name in ((self.routes, route), (self.tenants, tenant)) if name in targets]
        due = [asked[max(asked)] for slo in own or [self] if (asked := _of_metric(slo.targets(), "ttft"))]
        return min(due, default=math.inf)

    def rejection_is_miss(self, reason: str) -> bool:
        """Whether a request that was rejected for ``reason`` counts as one that failed."""
        if isinstance(self.rejected_is_miss, bool):
            return self.rejected_is_miss
        return self.rejected_is_miss.get(reason, reason not in POLICY_ANSWERS)

    def labelled(self) -> dict[str, dict[str, RouteSlo]]:
        """Label column -> its value -> targets, where any are stated."""
        return {label: targets for label, targets in (("route", self.routes), ("tenant", self.tenants)) if targets}


def _of_metric(targets: dict[str, float], metric: str) -> dict[float, float]:
    """Quantile -> limit of the targets of ``metric``."""
    parts = {name: name.split("_") for name in targets}
    return {float("0." + quantile[1:]): targets[name] for name, (of, quantile, _) in parts.items() if of == metric}
