"""The search of a fit: multipliers that make the misfit least, on a surface that is rough from near by.

A discrete simulation jumps: one request that falls into another step moves a figure, so derivatives are taken as
differences over a radius, coarse first. Of each radius in turn the residuals are tried at the centre and at either side
along every logarithm; the straight lines through them are minimised within two radii; where that, or any of the points
tried, is better than the centre, the search goes on from the best with the same radius, else with half of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

MOST_MOVES = 3
"""With one radius."""
SOFT = 3.0
"""Residuals beyond so many times the usual scatter (a stall, a request that was cut off) count less."""


class Place(NamedTuple):
    """Multipliers' logarithms and what came of them."""

    logs: np.ndarray
    residuals: np.ndarray


Look = Callable[[np.ndarray], np.ndarray]
"""Residuals at given logarithms of the free multipliers, in units of their scatter."""


def descend(
    look: Look, start: np.ndarray, radii: tuple[float, ...], low: np.ndarray, high: np.ndarray, moves: int = MOST_MOVES
) -> Place:
    """The best place found from ``start``, whose coordinates stay within ``low`` and ``high``; ``moves`` with one radius."""
    best = Place(start, look(start))
    for radius in radii:
        for _ in range(moves):
            slopes, seen = _slopes(look, best, radius, low, high)
            step = _least(best, slopes, 2 * radius, low, high)
            seen.append(Place(step, look(step)))
            found = min(seen, key=_size)
            if _size(found) >= _size(best):
                break
            short = float(np.abs(found.logs - best.logs).max()) <= radius / 2
            best = found
            if short:
                break
    return best


def _slopes(look: Look, at: Place, radius: float, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, list[Place]]:
    """Residuals' slopes along each coordinate, ``residuals x coordinates``, and the places that were looked at."""
    columns, seen = [], []
    for i in range(len(at.logs)):
        sides = []
        for sign in (-1.0, 1.0):
            logs = at.logs.copy()
            logs[i] = np.clip(logs[i] + sign * radius, low[i], high[i])
            sides.append(Place(logs, look(logs)))
        seen += sides
        columns.append((sides[1].residuals - sides[0].residuals) / max(sides[1].logs[i] - sides[0].logs[i], 1e-9))
    return np.stack(columns, axis=1), seen


def _least(at: Place, slopes: np.ndarray, most: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where straight lines from ``at`` say that the squares are least, at most ``most`` away in each coordinate."""
    lower, upper = np.maximum(at.logs - most, low) - at.logs, np.minimum(at.logs + most, high) - at.logs
    found = least_squares(
        lambda d: at.residuals + slopes @ d, np.clip(np.zeros(len(at.logs)), lower + 1e-12, upper - 1e-12),
        jac=lambda _: slopes, bounds=(lower - 1e-9, upper + 1e-9), loss="soft_l1", f_scale=SOFT, max_nfev=30,
    )  # fmt: skip
    return np.asarray(at.logs + found.x)


def softened(residuals: np.ndarray) -> np.ndarray:
    """What each residual adds to a misfit: its square, growing only linearly beyond ``SOFT``."""
    return np.asarray(2.0 * SOFT**2 * (np.sqrt(1.0 + (residuals / SOFT) ** 2) - 1.0))


def _size(place: Place) -> float:
    return float(softened(place.residuals).sum())
