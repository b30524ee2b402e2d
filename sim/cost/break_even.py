"""Self-host or API: dollars a month over daily volume, and where the lines cross.

    API       volume x (output price + prompt tokens per output token x input price)
    self-host machines(replicas(volume)) x 730 h x (1 + on top) + fixed $ a month + volume x $ per output token

``replicas(volume)`` is the capacity curve's: what was simulated within the SLO, never an assumed utilisation.
``machines`` are whole instances (``sim.cost.bill``). "On top" is what is stated as a share of compute (overhead, safety),
"fixed" what does not grow with volume (engineers, evaluation), the last term what does (storage, egress, a hybrid's API).
Volumes are output tokens a day. Left out: volume discounts, rate limits, migration, and that a model at home may differ in
quality from one behind an API.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.cost.bill import instances_needed
from sim.cost.capacity_curve import CapacityCurve
from sim.errors import ConfigError
from sim.units import HOURS_PER_MONTH, TOKENS_PER_MILLION

DAYS_PER_MONTH = HOURS_PER_MONTH / 24


@dataclass(frozen=True, kw_only=True)
class Economics:
    """The numbers of one comparison."""

    capacity: CapacityCurve
    """In output tokens a day."""
    usd_per_gpu_hour: float
    gpus_per_replica: int = 1
    instance_gpus: int = 1
    """GPUs that are sold together."""
    on_top_fraction: float = 0.0
    """Overhead and safety as a share of compute."""
    fixed_usd_per_month: float = 0.0
    usd_per_1m_output_tokens: float = 0.0
    """What grows with volume at home: storage, egress, a hybrid's API."""
    input_per_output: float = 4.0
    """Prompt tokens per output token."""
    api_input_usd_per_1m: float = 0.0
    api_output_usd_per_1m: float = 0.0

    def __post_init__(self) -> None:
        for name in ("usd_per_gpu_hour", "on_top_fraction", "fixed_usd_per_month", "input_per_output"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"`{name} >= 0` must hold, but got {getattr(self, name)!r}")

    def fleet_usd_per_month(self, replicas: int, tokens_per_day: float) -> float:
        """Dollars a month of ``replicas`` at home that serve ``tokens_per_day``."""
        instances = instances_needed(replicas, self.gpus_per_replica, self.instance_gpus)
        compute = instances * self.instance_gpus * self.usd_per_gpu_hour * HOURS_PER_MONTH
        return compute * (1 + self.on_top_fraction) + self.fixed_usd_per_month + self.by_volume_usd_per_month(tokens_per_day)

    def by_volume_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month of what grows with volume at home, machines apart."""
        return tokens_per_day * DAYS_PER_MONTH * self.usd_per_1m_output_tokens / TOKENS_PER_MILLION

    def self_host_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month of the fewest replicas that carry ``tokens_per_day``; nothing for no traffic."""
        if tokens_per_day <= 0:
            return 0.0
        return self.fleet_usd_per_month(self.capacity.replicas(tokens_per_day), tokens_per_day)

    def api_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month at the API."""
        per_1m = self.api_output_usd_per_1m + self.input_per_output * self.api_input_usd_per_1m
        return tokens_per_day * DAYS_PER_MONTH * per_1m / TOKENS_PER_MILLION


def break_even_tokens_per_day(numbers: Economics, *, most_replicas: int = 100_000) -> float | None:
    """The smallest daily volume from which self-hosting stays cheaper than the API; None when it is not with
    ``most_replicas`` either.

    Whole replicas make the cost at home a staircase, which crosses the API's line several times. At a step's foot one more
    replica has just been bought, so the feet decide. A replica of a larger fleet carries no less, so that from the first
    foot at which home is cheaper on it stays cheaper; the crossing lies on the flat part before that foot.
    """

    def foot(n: int) -> bool:
        """Whether home is cheaper just above what ``n`` replicas carry, with one more."""
        volume = numbers.capacity.load(n)
        return numbers.fleet_usd_per_month(n + 1, volume) <= numbers.api_usd_per_month(volume)

    high = 1
    while not foot(high):
        high *= 2
        if high > most_replicas:
            return None
    low = high // 2  # the foot of 0 replicas is never cheaper
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if foot(middle) else (middle, high)
    per_token = numbers.api_usd_per_month(1.0) - numbers.by_volume_usd_per_month(1.0)
    return max(numbers.fleet_usd_per_month(high, 0.0) / per_token, numbers.capacity.load(low))


@dataclass(frozen=True)
class Flip:
    """What one number would have to be for the API and self-hosting to cost the same at today's volume."""

    name: str
    today: float
    flips_at: float | None
    """None when no value within the range searched flips the decision."""


FLIPS: tuple[tuple[str, float, float], ...] = (
    ("usd_per_gpu_hour", 1e-3, 1e4), ("api_output_usd_per_1m", 1e-4, 1e4), ("api_input_usd_per_1m", 1e-4, 1e4),
    ("replica speed", 1e-2, 1e2), ("input_per_output", 0.0, 1e3), ("fixed_usd_per_month", 0.0, 1e9),
)  # fmt: skip
"""What is moved, least and most value searched. ``replica speed`` is a factor on the capacity curve."""


def with_value(numbers: Economics, name: str, value: float) -> Economics:
    """``numbers`` with one of ``FLIPS`` at ``value``."""
    if name == "replica speed":
        return replace(numbers, capacity=replace(numbers.capacity, speed=value))
    changed: dict[str, Any] = {name: value}
    return replace(numbers, **changed)


def flips(numbers: Economics, tokens_per_day: float) -> list[Flip]:
    """For each input the value that flips the cheaper of self-host and API at ``tokens_per_day``, by bisection; replicas
    are taken as a fraction of those that carry it, so that the answer does not hang on where a step lies."""
    n = max(1, numbers.capacity.replicas(tokens_per_day))

    def home_minus_api(trial: Economics) -> float:
        used = tokens_per_day / trial.capacity.load(n)
        machines = trial.fleet_usd_per_month(n, 0.0) - trial.fixed_usd_per_month
        rest = trial.fleet_usd_per_month(n, tokens_per_day) - machines
        return used * machines + rest - trial.api_usd_per_month(tokens_per_day)

    found = []
    for name, least, most in FLIPS:
        low, high = least, most
        at_low, at_high = (home_minus_api(with_value(numbers, name, edge)) for edge in (low, high))
        today = numbers.capacity.speed if name == "replica speed" else float(getattr(numbers, name))
        if (at_low > 0) == (at_high > 0):
            found.append(Flip(name, today, None))
            continue
        for _ in range(200):
            middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
            if (home_minus_api(with_value(numbers, name, middle)) > 0) == (at_low > 0):
                low = middle
            else:
                high = middle
        found.append(Flip(name, today, (low + high) / 2))
    return found


def curve(numbers: Economics, volumes: Sequence[float]) -> list[dict[str, float]]:
    """One row a volume: dollars a month both ways."""
    return [
        {
            "tokens_per_day": volume,
            "self_host_usd_per_month": numbers.self_host_usd_per_month(volume),
            "api_usd_per_month": numbers.api_usd_per_month(volume),
        }
        for volume in volumes
    ]
