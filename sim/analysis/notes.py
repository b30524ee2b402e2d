"""What a verdict should not be read without: things that the fleet wanted to do and could not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.analysis.features import feature_sentences
from sim.analysis.handovers import handover_sentences
from sim.analysis.ranks import rank_sentences
from sim.analysis.tiers import tier_sentences
from sim.record import Result
from sim.record.result import ANSWERED
from sim.spec.in_vain import stated_in_vain
from sim.spec.spot import ExponentialHazard, SpotSpec, TimeOfDayHazard, WeibullHazard, ZoneRuns
from sim.units import SECONDS_PER_DAY, SECONDS_PER_HOUR


def notes_of(result: Result) -> list[str]:
    """Sentences on a run's events, in order of time; a kind that repeats is told once, with its count."""
    done = {(event["pool"], event.get("version")) for event in result.events if event["event"] == "deploy_done"}
    found = [
        _stuck(event, finished=(event["pool"], event.get("version")) in done)
        for event in result.events
        if event["event"] == "deploy_stuck"
    ]
    found += [
        f"Pool {event['pool']} had no server from {event['time_s']:,.0f} s on, and none could come: its requests failed."
        for event in result.events
        if event["event"] == "pool_over" and not _all_answered(result)
    ]
    refused = [event for event in result.events if event["event"] == "quota"]
    if refused:
        found.append(
            f"The GPU budget ({result.scenario.fleet.gpu_budget}) refused servers {_times(len(refused))}, first at "
            f"{refused[0]['time_s']:,.0f} s ({refused[0]['cause']})."
        )
    return [
        *found, *rank_sentences(result), *feature_sentences(result), *tier_sentences(result), *handover_sentences(result),
        *stated_in_vain(result.scenario), *too_short(result),
    ]  # fmt: skip


_ENOUGH = 3.0
"""Events of a kind that a run must hold on average before its bill can be said to hold their price."""


def too_short(result: Result) -> list[str]:
    """What the run prices and is too short to contain: evictions, failures, nights; each with the count to expect."""
    scenario, found = result.scenario, []
    spot_hours, gpu_hours = _hours(result)
    pools = scenario.fleet.all_pools()
    on_spot = [pool.spot or scenario.spot for pool in pools.values() if pool.market == "spot"]
    if scenario.spot.hazard is not None and not on_spot:
        found.append(f"spot={scenario.spot.name} is stated, but no pool is on the spot market: nothing is taken.")
    lives = [life for spot in on_spot if (life := _mean_life_h(spot)) is not None]
    if lives and spot_hours > 0:
        expected = spot_hours / (sum(lives) / len(lives))
        happened = len({event["replica"] for event in result.events if _taken(event)})
        if expected < _ENOUGH:
            found.append(_rare("evictions", expected, happened, result))
    failures = scenario.fleet.failures
    if failures.gpu_mtbf_h is not None:
        expected = gpu_hours / failures.gpu_mtbf_h
        if expected < _ENOUGH:
            happened = sum(event["event"] == "lost" for event in result.events)
            found.append(_rare("hardware failures", expected, happened, result))
    scaled = any(scenario.scales(pool) for pool in pools.values())
    if scaled and result.last_arrival_s < _A_DAY_S:
        found.append(
            f"The run lasts {result.last_arrival_s / SECONDS_PER_HOUR:.2g} h: its month has no nights, in which a fleet "
            "that scales would be small."
        )
    return found


_A_DAY_S = 0.9 * SECONDS_PER_DAY


def _rare(what: str, expected: float, happened: int, result: Result) -> str:
    return (
        f"{expected:.2g} {what} were to be expected in these {result.end_s / SECONDS_PER_HOUR:.2g} h, {happened} happened: "
        "too short a run to hold their price; take a longer trace."
    )


def _mean_life_h(spot: SpotSpec) -> float | None:
    """Mean hours until a machine is taken; None where nothing is, or a recording says when."""
    hazard = spot.hazard
    if isinstance(hazard, ExponentialHazard | TimeOfDayHazard):
        return hazard.mean_life_h
    if isinstance(hazard, WeibullHazard):
        return hazard.scale_h * math.gamma(1 + 1 / hazard.shape)
    return hazard.up_mean_h if isinstance(hazard, ZoneRuns) else None


def _hours(result: Result) -> tuple[float, float]:
    """Machine-hours on the spot market, and GPU-hours in all."""
    replicas = result.replicas
    start = np.nan_to_num(replicas["billed_start_s"].to_numpy(dtype=float))
    stop = replicas["billed_stop_s"].to_numpy(dtype=float)
    hours = np.maximum(np.where(np.isfinite(stop), stop, result.end_s) - start, 0.0) / SECONDS_PER_HOUR
    spot = (replicas["market"].astype(object) == "spot").to_numpy(dtype=bool)
    return float(hours[spot].sum()), float(np.dot(hours, replicas["gpus"].to_numpy(dtype=float)))


def _taken(event: dict[str, Any]) -> bool:
    """A machine was taken by the market, or its notice given."""
    return event["event"] == "spot_notice" or (event["event"] == "lost" and str(event["cause"]).startswith("spot eviction"))


def _stuck(event: dict[str, Any], *, finished: bool) -> str:
    end = "it went on later" if finished else "it never finished"
    return (
        f"The deploy of pool {event['pool']} was stuck at {event['time_s']:,.0f} s with {event['replicas_left']} replicas "
        f"of the old version left ({event['cause']}; one more needs {event['gpus_needed']} GPUs): {end}."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _all_answered(result: Result) -> bool:
    """Nothing was lost: a pool without a server is none that anybody waited for."""
    return bool(result.requests["outcome"].isin(ANSWERED).all())
