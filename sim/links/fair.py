"""Max-min fair rates by progressive filling.

All rates rise together until a link is full or a transfer has all it can take; those that this holds back keep their rate,
the others rise on. No transfer can then have more without another, that has no more than it, having less.

Source: Bertsekas and Gallager, Data Networks (1992), section 6.5.2; it is what many TCP flows with equal round-trip times
come to, and what the fluid models of SimGrid compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

_FULL = 1e-12
"""A link is full when less than this part of its rate is left: sums of shares round."""


def max_min(rates: Sequence[float], paths: Sequence[Sequence[int]], limits: Sequence[float]) -> list[float]:
    """The fair rate of each transfer.

    Args:
        rates: of each link, in bytes a second.
        paths: for each transfer the indices of the links that it uses; a link twice counts once.
        limits: for each transfer what it can take at most; inf = no limit of its own (its path must not be empty then).
    """
    shares = [0.0] * len(paths)
    left = list(rates)
    users = [0] * len(rates)
    rising = [index for index in range(len(paths)) if limits[index] > 0.0]
    for index in rising:
        for link in set(paths[index]):
            users[link] += 1
    level = 0.0
    while rising:
        limit = min(limits[index] for index in rising)
        step = min((left[link] / count for link, count in enumerate(users) if count), default=inf)
        if limit - level <= step:
            step, level = limit - level, limit
        else:
            level += step
        if level == inf:
            raise ValueError("a transfer without a limit needs a link")
        for link, count in enumerate(users):
            left[link] -= count * step
        full = [users[link] > 0 and left[link] <= rates[link] * _FULL for link in range(len(rates))]
        still = []
        for index in rising:
            shares[index] = level
            if limits[index] > level and not any(full[link] for link in paths[index]):
                still.append(index)
                continue
            for link in set(paths[index]):
                users[link] -= 1
        rising = still
    return shares
