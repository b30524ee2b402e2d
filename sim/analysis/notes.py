"""What a verdict should not be read without: things that the fleet wanted to do and could not."""

from __future__ import annotations

from typing import Any

from sim.record import Result
from sim.record.result import ANSWERED


def notes_of(result: Result) -> list[str]:
    """Sentences on a run's events, in order of time; a kind that repeats is told once, with its count."""
    stuck = {event["pool"]: event for event in result.events if event["event"] == "deploy_stuck"}
    done = {event["pool"] for event in result.events if event["event"] == "deploy_done"}
    found = [_stuck(event, finished=pool in done) for pool, event in stuck.items()]
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
    return found


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
