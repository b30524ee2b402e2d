"""``fit_multipliers``: fits a few physical multipliers to measurements of one's own server.

    compute, memory, link, host, front_end      multiply the shares of the step time and the time before the engine

The measured arrivals are replayed through the engine, beside what ran before and after them (``sim.trust.company``), and
the misfit of every request's TTFT and TPOT (``sim.trust.misfit``) is made least from several starting points: every share
of the step alone as slow as the data ask for, and all together (``sim.trust.descent``).

A multiplier keeps the value 1 where the data cannot rule that out: with what it would gain elsewhere, a fit buys
predictions that no measurement supports. How well each is known is asked of the data by holding it further and further
away, fitting the others again, until that is ruled out: the range of those that stand is its interval, wide where one
multiplier can stand in for another; one whose interval is wide and holds 1 is not determined by the data, which is said
apart. Where a server of a known kind explains the data, fit and intervals stay within what such servers have
(``sim.trust.known_servers``), and the fit goes no further from the preset than the data ask for. Of a device that is no GPU
(``_ANOTHER_DEVICE``) kernels are taken to run where they are called. What all explanations that stand say of other traffic
is in ``sim.trust.rivals``. A fit whose means are worse than the preset's is refused. Reports of means that are fewer than
the multipliers give an anchor instead (``sim.trust.anchor``).

Leaves out: the scheduler's own parameters, prefix sharing that the file does not name, drift during the run.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.errors import ConfigError
from sim.perf import resolve_engine
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.trust.anchor import fit_anchor
from sim.trust.bench import HIGHEST, LOWEST, NEVER_FREE, Bench, Tried, scales_of
from sim.trust.calibration import Calibration
from sim.trust.descent import MOST_MOVES, descend
from sim.trust.intervals import Interval, interval_of
from sim.trust.known_servers import ANY, KNOWN, Bounds, at_an_end, bounds_of, clipped
from sim.trust.measured_run import Observations
from sim.trust.misfit import Misfit
from sim.trust.rivals import capacity_ranges, deciding
from sim.watch import watch_of_this_job

_SHARES = ("memory", "host", "compute")
_ALONE = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Tried of each share of the step alone, the others at 1."""
_COMPUTE = (1.0, 10.0, 100.0, 1e3, 1e4)
"""Multiples of the common level tried for ``compute``: on a CPU or an unknown device the preset may be far off."""
_STARTS = 3
_COARSE, _FINE, _FINEST = (0.3, 0.15), (0.15, 0.08), (0.08, 0.04)
"""Radii of the search, logarithms."""
_SAME = 0.2
"""Starting points closer than this in every logarithm are one."""
_ANOTHER_DEVICE = 30.0
"""Where compute takes so many times as long as the preset says, this is no GPU of its kind. A CPU runs a kernel where it is
called: nothing is launched to hide behind, and what launching costs the CPU of a GPU says nothing here."""
_HIT = 0.02
"""A mean within so much of the measured is hit: two runs of one server differ by more."""
_HALVINGS = 3
"""Of the way from the preset to the fit."""
_WORSE = 0.05
"""A fit whose means are off by so much more in all than the preset's is worse."""


def fit_multipliers(
    runs: list[Observations],
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    fixed: Mapping[str, float] | None = None,
    any_server: bool = False,
) -> Calibration:
    """The multipliers that explain ``runs``.

    Args:
        runs: what was measured.
        model: what was served.
        gpu: on what, as the preset has it.
        engine: as stated.
        fixed: multipliers that are held.
        any_server: take nothing for granted of servers of this kind (``sim.trust.known_servers``).

    Raises:
        ConfigError: no multiplier is free, or the fit explains the data worse than the preset does.
    """
    resolved = resolve_engine(engine, model, gpu)
    held = dict(fixed or {})
    bench = Bench(runs, model, gpu, resolved, held)
    told = sum(len(run.known_means) for run in runs if run.point is not None)
    if all(run.point is not None for run in runs) and told <= len(bench.free):
        return fit_anchor(bench)
    if not bench.free:
        raise ConfigError(f"calibrate: --fix holds {', '.join(scales_of(resolved))}; one must be free")
    return _Fit(bench, may_be_known=not any_server).run()


class _Fit:
    """One fit on its way: the bench, the measure of misfit and the best explanation so far."""

    def __init__(self, bench: Bench, *, may_be_known: bool) -> None:
        self.bench, self.may_be_known, self.watch = bench, may_be_known, watch_of_this_job()
        self.bounds: Bounds = ANY
        self.preset = bench.test({})
        self.misfit = Misfit(bench, self.preset)

    def run(self) -> Calibration:
        """Search, hold what may be held, ask how well each is known."""
        bench = self.bench
        self.watch.doing = "starting points"
        starts = self._starts()
        rough = min((self._search(start, bench.free, _COARSE) for start in starts), key=self.misfit.of)
        bench.choose_companies(rough.multipliers)
        self.preset, rough = bench.test({}), bench.test(rough.multipliers)
        self.misfit = Misfit(bench, rough)
        best = rough = self._launching_nothing(rough)
        for number, start in enumerate([rough.multipliers, *starts], start=1):
            self.watch.doing = f"from starting point {number} of {len(starts) + 1}"
            best = min(best, self._search(start, bench.free, _FINE), key=self.misfit.of)
        best = min([best, *bench.tried], key=self.misfit.of)
        likely = self._of_known_kind(best) if self.may_be_known else best
        found = self._simplest(likely)
        if self.bounds is KNOWN:
            found = self._nearest(found, best)
        intervals = {}
        for name in bench.free:
            self.watch.doing = f"how well {name} is known"
            intervals[name] = interval_of(name, found, best, bench, self.misfit, self.bounds)
        return self._calibration(found, intervals)

    def _of_known_kind(self, best: Tried) -> Tried:
        """The best explanation by a server of a known kind, unless another is better: the fit then stays within the kind."""
        self.bounds, self.misfit.known_kind = KNOWN, True
        starts = clipped(best.multipliers, KNOWN), dict[str, float]()
        likely = min((self._search(start, self.bench.free, _FINE) for start in starts), key=self.misfit.of)
        if self.misfit.no_worse(likely, best) and not at_an_end(likely.multipliers, KNOWN):
            return likely
        self.bounds, self.misfit.known_kind = ANY, False
        return best

    def _launching_nothing(self, rough: Tried) -> Tried:
        """``rough``, or of a device that is no GPU the explanation in which kernels are not launched, unless the data rule
        that out: then it is held for the rest of the fit."""
        if rough.multipliers["compute"] < _ANOTHER_DEVICE or NEVER_FREE in self.bench.held:
            return rough
        called = self._search({**rough.multipliers, NEVER_FREE: LOWEST}, self.bench.free, (*_COARSE, *_FINE))
        if not self.misfit.no_worse(called, rough):
            return rough
        self.bench.hold(NEVER_FREE, LOWEST)
        return self.bench.test(called.multipliers)

    def _search(
        self, start: Mapping[str, float], free: list[str], radii: tuple[float, ...], moves: int = MOST_MOVES
    ) -> Tried:  # fmt: skip
        """The best explanation near ``start`` with ``free`` multipliers, the others as they are there."""

        def named(logs: np.ndarray) -> dict[str, float]:
            return {**start, **dict(zip(free, np.exp(logs).tolist(), strict=True))}

        def look(logs: np.ndarray) -> np.ndarray:
            return self.misfit.residuals(self.bench.test(named(logs)))

        first = len(self.bench.tried)
        logs = np.log([start.get(name, 1.0) for name in free])
        descend(look, logs, radii, *bounds_of(free, self.bounds), moves)
        return min(self.bench.tried[first:], key=self.misfit.of)

    def _starts(self) -> list[dict[str, float]]:
        """The best few of: the preset, each share of the step alone, all shares together."""
        bench = self.bench
        tried = [self.preset]
        shares = [name for name in _SHARES if name in bench.free]
        for name in shares:
            tried.append(min((bench.test({name: factor}) for factor in _ALONE), key=self.misfit.of))
        if "host" in shares:  # a CPU that prepares steps slowly, and starts kernels as fast as others
            slow = (bench.test({"host": factor, NEVER_FREE: 1 / factor}) for factor in _ALONE if factor > 1)
            tried.append(min(slow, key=self.misfit.of))
        level = self._level()
        if shares and abs(np.log(level)) > _SAME:
            common = dict.fromkeys(shares, level)
            multiples = _COMPUTE if "compute" in shares else (1.0,)
            tried.append(min(
                (bench.test({**common, **({"compute": level * k} if "compute" in shares else {})}) for k in multiples),
                key=self.misfit.of,
            ))  # fmt: skip
        chosen: list[dict[str, float]] = []
        for one in sorted(tried, key=self.misfit.of):
            if all(_apart(one.multipliers, other) > _SAME for other in chosen):
                chosen.append(dict(one.multipliers))
        return chosen[:_STARTS]

    def _level(self) -> float:
        """Measured / predicted TPOT of the preset, the median."""
        bench = self.bench
        pairs = zip(bench.runs, bench.predict(self.preset.multipliers), strict=True)
        ratio = float(np.nanmedian(np.concatenate([run.tpot_s / guess.tpot_s for run, guess in pairs])))
        return float(np.clip(ratio if np.isfinite(ratio) else 1.0, 2 * LOWEST, HIGHEST / 1e5))

    def _simplest(self, best: Tried) -> Tried:
        """The explanation with the fewest multipliers away from 1 that stands."""
        bench, found = self.bench, best
        if best.multipliers[NEVER_FREE] != 1.0 and NEVER_FREE not in bench.held:
            one = self._search({**best.multipliers, NEVER_FREE: 1.0}, bench.free, _FINE)
            found = one if self._as_good(one, best) else best
        kept: list[str] = []
        while len(kept) < len(bench.free):
            free = [name for name in bench.free if name not in kept]
            trials = []
            for name in free:
                others = [other for other in free if other != name]
                start = {**found.multipliers, **dict.fromkeys([*kept, name], 1.0)}
                one = self._search(start, others, _FINE[:1], 1) if others else bench.test({})
                if self._as_good(one, best):
                    trials.append((self.misfit.of(one), name, one))
            if not trials:
                break
            _, name, found = min(trials, key=lambda trial: trial[0])
            kept.append(name)
            self.watch.doing = f"{name} may be 1"
        free = [name for name in bench.free if name not in kept]
        if free:
            found = min(found, self._search(found.multipliers, free, _FINEST), key=self.misfit.of)
        return found

    def _nearest(self, found: Tried, best: Tried) -> Tried:
        """Between the preset and ``found`` the explanation nearest to the preset, by logarithms, that is as good: of a
        server of a known kind it is the likelier."""
        logs = {name: float(np.log(value)) for name, value in found.multipliers.items()}
        least, most = 0.0, 1.0
        for _ in range(_HALVINGS):
            share = (least + most) / 2
            one = self.bench.test({name: float(np.exp(share * log)) for name, log in logs.items()})
            if self._as_good(one, best):
                found, most = one, share
            else:
                least = share
        return found

    def _as_good(self, one: Tried, best: Tried) -> bool:
        """Whether the data give no reason to prefer ``best``, in the means either: what may vary from request to request may
        not in the mean."""
        hit = all(abs(error) <= max(abs(best.mean_errors[name]), _HIT) for name, error in one.mean_errors.items())
        return hit and self.misfit.no_worse(one, best)

    def _calibration(self, found: Tried, intervals: dict[str, Interval]) -> Calibration:
        bench = self.bench
        if _total(found.mean_errors) > _total(self.preset.mean_errors) + _WORSE:
            means = ", ".join(
                f"{name.upper()} {100 * self.preset.mean_errors[name]:+.1f} -> {100 * error:+.1f} %"
                for name, error in found.mean_errors.items()
            )
            raise ConfigError(
                f"calibrate: the fit is worse than the preset ({means}); is everything as measured: model, engine options, "
                "prefixes that prompts share? Nothing was written"
            )
        ends = {name: (each.low, each.high) for name, each in intervals.items()}
        known = [name for name, each in intervals.items() if each.determines(found.multipliers[name])]
        standing = [tried for interval in intervals.values() for tried in interval.standing]
        others = [tried.multipliers for tried in standing]
        return Calibration(
            multipliers={name: value for name, value in found.multipliers.items() if name != NEVER_FREE or value != 1.0},
            interval_95={name: ends[name] for name in known},
            errors_before=self.preset.mean_errors,
            errors_after=found.mean_errors,
            requests=sum(len(run.trace) for run in bench.runs),
            load_goes_on=any(company.after for company in bench.companies),
            not_determined={name: ends[name] for name in ends if name not in known},
            capacity=tuple(capacity_ranges(bench, found.multipliers, others)),
            decides=deciding(bench, found.multipliers, others),
            replays=bench.replays,
            known_kind=self.bounds is KNOWN,
            launches_nothing=bench.held.get(NEVER_FREE) == LOWEST,
        )


def _total(errors: Mapping[str, float]) -> float:
    return float(np.sum(np.abs(list(errors.values()))))


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return max(abs(float(np.log(one[name] / value))) for name, value in other.items())
