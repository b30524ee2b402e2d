"""``summary["slo"]``: the verdict of a run, and how far it can be trusted.

    overloaded  the queue grew to the end (``sim.analysis.overload``): its percentiles measure the length of the run
    fail        a target is missed, more requests were lost than ``max_failed_fraction``, or nothing was answered
    undecided   every limit is met, but the run is too short for a claim (``needs_s``), or no target was stated
    pass        every limit is met, and the run is long enough to say how sure that is

The verdict is that of the estimates: searches and exit codes go by ``holds``. ``claim`` is the confidence beside it: true
when every target's interval lies within its limit and the share of lost requests is surely below its own; false when one
of them is not; null when there is nothing to claim (no target, an ITL target, a run that is too short).
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from sim.analysis.intervals import CONFIDENCE, Interval, share_interval, slo_intervals
from sim.analysis.latency import answered_mask, latency_of
from sim.analysis.notes import notes_of
from sim.analysis.overload import is_overloaded
from sim.analysis.slo import LatencyTable, check_slo, lost_mask, missed_by, verdict
from sim.columns import let_go
from sim.record.result import Result, holds
from sim.spec import Slo

_RULE_OF_THREE = 3.0
"""None of n requests lost: fewer than 3 / n are, with 95 % confidence."""


def judge(result: Result, slo: Slo, latency: LatencyTable, measured: pd.DataFrame) -> dict[str, Any]:
    """Verdict, targets with what was attained, the share lost, and the claim, of the ``measured`` requests."""
    labelled = {
        label: {
            value: latency_of(measured, targets.targets(), holds(measured[label], value))
            for value, targets in values.items()
        }
        for label, values in slo.labelled().items()
    }
    checks = check_slo(latency, slo, labelled)
    answered = int(answered_mask(measured).sum())
    lost = lost_mask(measured, slo)
    failed_fraction = float(lost.mean()) if len(lost) else math.nan
    limit = slo.max_failed_fraction
    found = verdict(
        checks, answered, failed_fraction, limit, overloaded=is_overloaded(measured), stopped_early=result.stopped_early
    )
    let_go()
    within = found in ("pass", "undecided") and answered > 0
    targets = {check.target: check.limit for check in checks}
    intervals = slo_intervals(result, slo) if within else {}
    lost_share = share_interval(measured["arrival_s"].to_numpy(dtype=float), lost) if within else None
    claim, needs_s = _claim(targets, intervals, lost_share, limit, len(measured))
    if found == "pass" and (needs_s is not None or not targets):
        found = "undecided"
    return {
        "verdict": found,
        "holds": within,
        "targets": targets,
        "attained": {check.target: check.attained for check in checks},
        "met": {check.target: check.met for check in checks},
        "failed_fraction": failed_fraction,
        "max_failed_fraction": limit,
        "missed_by": missed_by(checks, failed_fraction, limit),
        "notes": notes_of(result),
        "stopped_early": result.stopped_early,
        "claim": claim,
        "confidence": CONFIDENCE,
        "intervals": {name: [one.low, one.high] for name, one in intervals.items()},
        "needs_s": needs_s,
    }


def _claim(
    targets: dict[str, float], intervals: dict[str, Interval], lost: Interval | None, limit: float, requests: int
) -> tuple[bool | None, float | None]:
    """The claim, and the seconds that a run needs before one is possible."""
    if lost is None or not targets:
        return None, None
    waits = [one.needs_s for one in intervals.values() if not one.known]
    if waits:
        known = [wait for wait in waits if wait is not None]
        return None, max(known, default=math.inf)
    if len(intervals) < len(targets):
        return None, None  # an ITL target
    most_lost = max(lost.high, _RULE_OF_THREE / requests) if limit > 0 else lost.value
    within = all(one.high <= targets[name] for name, one in intervals.items())
    return within and most_lost <= limit, None


def verdict_words(judged: dict[str, Any], requests: int) -> str:
    """What the verdict means, in one clause: ``10 requests are too few for a claim; this run passes every limit``."""
    found, level = judged["verdict"], f"{judged['confidence']:.0%}"
    if found == "undecided":
        if not judged["targets"]:
            return "no target was stated"
        if not judged["holds"]:
            return "nothing was answered"
        if "seeds" in judged and not all(one["holds"] for one in judged["seeds"]):
            held = sum(one["holds"] for one in judged["seeds"])
            return f"holds under this seed and {held} of {len(judged['seeds'])} others"
        needs = judged["needs_s"]
        longer = f"; it needs about {_duration(needs)} of such traffic" if needs else ""
        return f"{requests:,} requests are too few for a claim; this run passes every limit{longer}"
    if found != "pass":
        return str(judged["missed_by"] or judged.get("stopped_early") or "")
    if judged["claim"] is None:
        return "no claim of confidence: an ITL percentile has no interval"
    if judged["claim"]:
        return f"with {level} confidence"
    return f"in this trace, not with {level} confidence over traces like it"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
