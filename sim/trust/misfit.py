"""How badly multipliers fit the measurements, and which others fit no worse.

Logarithms of predicted / measured of every TTFT and TPOT are divided by their metric's own scatter in that run, so that a
noisy metric does not outvote a quiet one. Another explanation is no worse than the best where either test says so:

- noise: the difference of misfit from the best, added up over blocks of neighbouring requests, is less than 1.96
  standard errors of that sum (Vuong's test of two models, by blocks, since requests that ran together err together);
- misfit: its predictions differ from the best's by less than the best's differ from the measurements, both as root mean
  squares over the blocks' means, for every metric of every run. A model that is itself off by so much cannot tell them
  apart.

It stands, which is more, also where it differs from the best by no more than the step-time model is usually off, whatever
the fit made of it here: on servers of a kind that was measured before less than on others.
"""

from __future__ import annotations

import numpy as np

from sim.trust.bench import Bench, Tried
from sim.trust.descent import softened

_LEAST_SCATTER = 0.03
"""Of a metric, as a share: two runs of one server differ by so much."""
_Z = 1.96
_MODEL_IS_OFF = {"ttft_s": 0.10, "tpot_s": 0.05, "e2e_s": 0.05}
"""On cards that nothing was fitted to: with one GPU left out the steps are 5.5 to 8.6 % off."""
_ON_A_KNOWN_KIND = 0.7
"""Of that: three of four runs of ``experiments/validation`` are within it. With their medians (4.7, 2.0 and 2.1 %) one of
five intervals of multipliers fitted on half a run missed the estimate of the whole."""


class Misfit:
    """Measures the misfit of what a bench tried, in units of the scatter around ``typical``."""

    def __init__(self, bench: Bench, typical: Tried) -> None:
        columns = range(int(bench.column[-1]) + 1)
        spread = [_scatter(typical.logs[bench.column == column]) for column in columns]
        self.known_kind = False
        """Whether the server is of a kind that was measured before."""
        self._scatter = np.array(spread)[bench.column]
        blocks, self._block = np.unique(np.stack([bench.column, bench.block]), axis=1, return_inverse=True)
        self._column = blocks[0]
        self._in_block = np.bincount(self._block)
        usual = np.array([_MODEL_IS_OFF[name] for name in bench.columns])[self._column]
        self._usual = usual / np.bincount(self._block, self._scatter) * self._in_block

    def residuals(self, tried: Tried) -> np.ndarray:
        """One a figure, in units of its scatter."""
        return np.asarray(tried.logs / self._scatter)

    def of(self, tried: Tried) -> float:
        """The misfit, added up over all figures."""
        return float(self._by_block(tried).sum())

    def no_worse(self, other: Tried, best: Tried) -> bool:
        """Whether the measurements give no reason to prefer ``best``."""
        worse = self._by_block(other) - self._by_block(best)
        by_chance = worse.sum() <= _Z * np.sqrt(len(worse)) * worse.std()
        return bool(by_chance) or self._within(other, best, self._means(best))

    def stands(self, other: Tried, best: Tried) -> bool:
        """Whether ``other`` cannot be ruled out."""
        usual = self._usual * _ON_A_KNOWN_KIND if self.known_kind else self._usual
        return self._within(other, best, usual) or self.no_worse(other, best)

    def _within(self, other: Tried, best: Tried, off: np.ndarray) -> bool:
        """Whether the two predict, of every metric of every run, what differs by less than ``off``, a block."""
        away = self._means(other) - self._means(best)
        return bool(np.all(np.bincount(self._column, away**2) <= np.bincount(self._column, off**2)))

    def _by_block(self, tried: Tried) -> np.ndarray:
        return np.asarray(np.bincount(self._block, softened(self.residuals(tried))))

    def _means(self, tried: Tried) -> np.ndarray:
        return np.asarray(np.bincount(self._block, self.residuals(tried)) / self._in_block)


def _scatter(logs: np.ndarray) -> float:
    return max(_LEAST_SCATTER, 1.4826 * float(np.median(np.abs(logs - np.median(logs)))))
