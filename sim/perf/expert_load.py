"""How unevenly experts are chosen, and what placing them by their load makes of it.

Tokens of an expert follow a power law, ``P(x) ~ x^-alpha`` between 1 and ``_MOST`` (NVIDIA AIConfigurator, which takes alpha
1.01 and 1.2 and 0.8 of a step's tokens as the most; shares should not depend on the step, so ``_MOST`` is that of 1,024
tokens, an assumption); here its quantiles, so nothing is drawn. The busiest GPU decides a layer's time:

    imbalance = tokens of the fullest GPU / mean

Without EPLB experts lie in order, that is anywhere: the mean over ``_PLACEMENTS`` random placements. With it the hottest
experts are copied, the most loaded copy first, and the copies packed, heaviest first, each on the emptiest GPU with room
(deepseek-ai/EPLB ``eplb.py``, ``replicate_experts`` and ``balanced_packing``), with loads that are known and do not drift.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_MOST = 0.8 * 1024
_PLACEMENTS = 200
_SEED = 20

Array = NDArray[np.float64]


@lru_cache(maxsize=256)
def imbalance(experts: int, active: int, gpus: int, alpha: float, copies: int = 0, *, by_load: bool = False) -> float:
    """Tokens of the fullest of ``gpus`` GPUs over their mean where a token chooses ``active`` of ``experts``, of which there
    are ``copies`` beside the first of each; ``by_load``: EPLB has placed them."""
    if alpha == 0.0 or gpus == 1:
        return 1.0
    loads = loads_of(experts, active, alpha)
    if by_load:
        return _packed(loads, gpus, copies)
    slots = -(-experts // gpus)
    padded = np.zeros(slots * gpus)
    padded[:experts] = loads
    rng = np.random.default_rng(_SEED)
    fullest = [rng.permutation(padded).reshape(gpus, slots).sum(axis=1).max() for _ in range(_PLACEMENTS)]
    return float(np.mean(fullest)) * gpus


def loads_of(experts: int, active: int, alpha: float) -> Array:
    """Share of the routed tokens of each expert, falling; a token chooses an expert once, so none has more than 1/active."""
    quantile = (np.arange(experts) + 0.5) / experts
    if alpha == 1.0:
        drawn = _MOST**quantile
    else:
        drawn = ((_MOST ** (1.0 - alpha) - 1.0) * quantile + 1.0) ** (1.0 / (1.0 - alpha))
    shares = np.sort(drawn / drawn.sum())[::-1]
    for first in range(active):  # what the hottest have beyond their limit goes to the others
        if shares[first] * active <= 1.0:
            break
        shares[first] = 1.0 / active
        rest = shares[first + 1 :]
        rest *= (1.0 - (first + 1) / active) / rest.sum()
    return np.asarray(shares)


def _packed(loads: Array, gpus: int, copies: int) -> float:
    counts = np.ones(len(loads))
    for _ in range(copies):
        counts[int(np.argmax(loads / counts))] += 1
    weights = np.sort(np.repeat(loads / counts, counts.astype(int)))[::-1]
    room = -(-len(weights) // gpus)
    full, held = np.zeros(gpus), np.zeros(gpus, dtype=int)
    for weight in weights:
        place = int(np.argmin(np.where(held < room, full, np.inf)))
        full[place] += weight
        held[place] += 1
    return float(full.max()) * gpus
