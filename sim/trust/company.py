"""What ran beside the requests of a file and is not in it.

A file may be a part of a longer run: its first requests then met a server under load, its last ones had company that
came after them. For each end both readings are tried under the same multipliers, and the one under which the requests at
that end err as the others do is taken: TPOT is compared, since company slows steps. Where they do so under neither, the load
there is not known, and these requests are left out of the fit (of the last ones TPOT alone: who came after them did not
delay their first token). The copies that stand for what is not in
the file have its own lengths and pace; those before share its prefixes (a running server holds them), and no prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sim.trust.measured_run import Observations
from sim.workload.trace import Trace, missing_column

_MOST_COPIES = 3
_SLIVER = 0.05
"""An end is looked at where the slowest answer takes more than this share of the run."""
_FEWEST = 10
"""Requests in the middle; with fewer, the reading is taken under which all err alike."""
_UNLIKE = 0.05
"""An end that errs by so much more or less than the middle, in the logarithm, had other company than either reading says."""
_CLEARLY_EVENER = 0.8
_CLEARLY = 0.01
"""The load is taken to have been there only where the end then errs by so much less, in the logarithm."""


@dataclass(frozen=True)
class Company:
    """Whether the load was there before the first request of a file, and went on after its last."""

    before: bool = False
    after: bool = False


def may_matter(run: Observations) -> bool:
    """Whether company at an end concerns more than a sliver of the run."""
    if run.point is not None or run.concurrency is not None or not run.trace.duration_s > 0:
        return False
    return float(np.nanmax(run.e2e_s)) > _SLIVER * run.trace.duration_s


def with_company(run: Observations, company: Company) -> tuple[Trace, slice]:
    """The run's trace with copies of itself at either end, and the rows of the run itself."""
    trace, n = run.trace, len(run.trace)
    if not (company.before or company.after):
        return trace, slice(0, n)
    slowest_s = float(np.nanmax(run.e2e_s))
    period_s = trace.duration_s * (1 + 1 / max(1, n))
    copies = min(_MOST_COPIES, int(np.ceil(slowest_s / period_s)))
    numbers = range(-copies if company.before else 0, (copies if company.after else 0) + 1)
    arrival_s = np.concatenate([trace.arrival_s + period_s * k for k in numbers])
    copy = np.repeat(np.array(numbers), n)
    seen = arrival_s >= trace.arrival_s[0] - slowest_s
    arrival_s, copy = arrival_s[seen], copy[seen]
    whole = trace.take(np.tile(np.arange(n), len(numbers))[seen], arrival_s - arrival_s[0])
    first = int((copy < 0).sum())
    labels = {}
    for name, column in whole.labels.items():
        shared = name in ("prefix_id", "prefix_tokens")
        labels[name] = np.where((copy > 0) | ((copy < 0) & (not shared)), missing_column(name, len(copy)), column)
    return replace(whole, labels=labels), slice(first, first + n)


def ends(run: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose life the two ends touch: sent before the first answer's usual time, and answered after the last arrival."""
    arrived = run.trace.arrival_s
    usual_s = float(np.nanmedian(run.e2e_s))
    return arrived < arrived[0] + usual_s, arrived + run.e2e_s > arrived[-1]


def choose(run: Observations, ask: Callable[[Company], np.ndarray]) -> Company:
    """The reading of ``run`` under which its ends err as its middle does.

    Args:
        run: what was measured.
        ask: log of predicted / measured TPOT of every request under a reading.
    """
    if not may_matter(run):
        return Company()
    early, late = ends(run)
    middle = ~(early | late)
    if middle.sum() < _FEWEST:
        return _evenest(ask)

    def better(rows: np.ndarray, reading: Company, than: Company) -> bool:
        """Whether the requests ``rows`` err clearly more as the middle does under ``reading`` than under ``than``."""
        misses = []
        for logs in map(ask, (reading, than)):
            misses.append(abs(_median(logs[rows]) - _median(logs[middle])))
        errors = logs[rows][np.isfinite(logs[rows])]
        if not errors.size:
            return False
        by_chance = float(errors.std()) / int(rows.sum()) ** 0.5
        return bool(misses[0] < misses[1] - max(_CLEARLY, by_chance))

    before = better(early, Company(True, False), Company(False, False))
    return Company(before, better(late, Company(before, True), Company(before, False)))


def left_out(run: Observations, logs: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> rows whose company is not known: an end that errs unlike the middle under the reading that was chosen.

    Args:
        run: what was measured.
        logs: log of predicted / measured TPOT of every request under that reading.
    """
    none = np.zeros(len(run.trace), dtype=bool)
    found = {"ttft_s": none, "tpot_s": none}
    if not may_matter(run):
        return found
    early, late = ends(run)
    middle = ~(early | late)
    if middle.sum() < _FEWEST:
        return found
    if _unlike(logs, early, middle):
        found = {name: rows | early for name, rows in found.items()}
    if _unlike(logs, late, middle):
        found["tpot_s"] = found["tpot_s"] | late
    return found


def _unlike(logs: np.ndarray, end: np.ndarray, middle: np.ndarray) -> bool:
    return abs(_median(logs[end]) - _median(logs[middle])) > _UNLIKE


def _evenest(ask: Callable[[Company], np.ndarray]) -> Company:
    """The reading under which all requests err alike, of a run that is all ends (an overload that drains)."""
    alone = _spread(ask(Company()))
    others = Company(False, True), Company(True, False), Company(True, True)
    spreads = {reading: _spread(ask(reading)) for reading in others}
    best = min(spreads, key=lambda reading: spreads[reading])
    return best if spreads[best] < _CLEARLY_EVENER * alone else Company()


def _spread(logs: np.ndarray) -> float:
    logs = logs[np.isfinite(logs)]
    return float(np.std(logs)) if len(logs) else 0.0


def _median(logs: np.ndarray) -> float:
    logs = logs[np.isfinite(logs)]
    return float(np.median(logs)) if len(logs) else 0.0
