"""How near to its knee a server was driven: the load that came, as a share of what the engine sustains.

    load = requests a second / rate of the fluid model (``sim.perf.steady``) at the mean lengths, uncached tokens

Below about 0.8 an error of a step time shows as it is; above, a queue multiplies it; past 1 latency is a matter of how long
the load went on. A closed loop comes to at most 1 by itself.
"""

from __future__ import annotations

import math

from sim.perf.steady import MeanRequest, steady_engine
from sim.perf.step_time import StepTimeModel
from sim.spec import EngineSpec

BANDS = (
    ("idle, below 20 %", 0.2), ("20 to 50 %", 0.5), ("50 to 80 %", 0.8), ("80 to 95 %", 0.95),
    ("at or past the knee", math.inf),
)  # fmt: skip
"""Names of the bands of load, and where each ends."""


def load_share(
    steps: StepTimeModel, engine: EngineSpec, kv_tokens: int, rate_per_s: float, prompt_tokens: float, output_tokens: float
) -> float:
    """``rate_per_s`` requests of those mean lengths as a share of what one engine sustains; NaN where it is not known.

    Args:
        steps: seconds.
        engine: resolved.
        kv_tokens: what its KV pool holds.
        rate_per_s: requests a second.
        prompt_tokens: mean of what has to be computed of a prompt.
        output_tokens: mean answer.
    """
    if not rate_per_s > 0 or not math.isfinite(rate_per_s):
        return math.nan
    mean = MeanRequest(max(prompt_tokens, 1.0), max(output_tokens, 1.0))
    seats = engine.max_num_active_seqs or engine.max_num_seqs or 1
    return rate_per_s / steady_engine(steps, kv_tokens, seats, mean, math.inf).rate_per_s


def band(load: float) -> str:
    """The name of the band that ``load`` is in; empty where it is not known."""
    return "" if math.isnan(load) else next(name for name, end in BANDS if load < end)
