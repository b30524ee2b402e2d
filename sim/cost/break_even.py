"""Self-host or API: dollars a month over daily volume, and where the lines cross.

    API       volume x (output price + prompt tokens per output token x input price), its contract's terms, volume x what
              is paid either way, GPUs committed to
    self-host machines(replicas(volume)) x 730 h x (1 + on top) + commitment + fixed $ a month
              + volume x ($ per output token + what is paid either way) + APIs that a hybrid buys from

``replicas(volume)`` is the capacity curve's: what was simulated within the SLO, never an assumed utilisation.
``machines`` are whole instances (``sim.cost.bill``). "On top" is what grows with compute (overhead, safety), "fixed" what
does not grow with volume (engineers, evaluation), "either way" what is paid whoever answers (storage of logs, egress). A
commitment is paid either way too, and takes what it covers off the machines. Volumes are output tokens a day. Left out:
rate limits, migration, and that a model at home may differ in quality from one behind an API.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scipy.optimize import brentq

from sim.cost.api_terms import ApiMonth
from sim.cost.bill import instances_needed
from sim.cost.capacity_curve import CapacityCurve
from sim.errors import ConfigError
from sim.units import DAYS_PER_MONTH, HOURS_PER_MONTH, TOKENS_PER_MILLION

_MOST_TOKENS = 1e18
"""A day; no volume is sought beyond."""


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
    committed_gpus: int = 0
    committed_usd_per_hour: float = 0.0
    """Of all GPUs that are committed to, whether or not they run."""
    fixed_usd_per_month: float = 0.0
    usd_per_1m_output_tokens: float = 0.0
    """What grows with volume at home alone: power."""
    either_way_usd_per_1m_output_tokens: float = 0.0
    """What is paid whoever answers: storage of logs, egress."""
    bought: ApiMonth = field(default_factory=lambda: ApiMonth(()))
    """What a hybrid buys from APIs at ``today_tokens_per_day``."""
    today_tokens_per_day: float = 1.0
    input_per_output: float = 4.0
    """Prompt tokens per output token."""
    api_input_usd_per_1m: float = 0.0
    api_output_usd_per_1m: float = 0.0
    contract: ApiMonth | None = None
    """The API's month at ``today_tokens_per_day``, where terms hold (minimum spend, discounts); None: list prices."""

    def __post_init__(self) -> None:
        for name in ("usd_per_gpu_hour", "on_top_fraction", "fixed_usd_per_month", "input_per_output"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"`{name} >= 0` must hold, but got {getattr(self, name)!r}")

    def fleet_usd_per_month(self, replicas: int, tokens_per_day: float) -> float:
        """Dollars a month of ``replicas`` at home that serve ``tokens_per_day``."""
        instances = instances_needed(replicas, self.gpus_per_replica, self.instance_gpus)
        compute = instances * self.instance_gpus * self.usd_per_gpu_hour * HOURS_PER_MONTH
        covered = min(replicas * self.gpus_per_replica, self.committed_gpus) * self.usd_per_gpu_hour * HOURS_PER_MONTH
        machines = compute * (1 + self.on_top_fraction) + self.committed_usd_per_month - covered
        return machines + self.fixed_usd_per_month + self.by_volume_usd_per_month(tokens_per_day)

    @property
    def committed_usd_per_month(self) -> float:
        """Dollars a month of the GPUs committed to."""
        return self.committed_usd_per_hour * HOURS_PER_MONTH

    def by_volume_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month of what grows with volume at home, machines apart."""
        per_1m = self.usd_per_1m_output_tokens + self.either_way_usd_per_1m_output_tokens
        times = tokens_per_day / self.today_tokens_per_day
        return _a_month(tokens_per_day, per_1m) + self.bought.usd(times)

    def self_host_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month of the fewest replicas that carry ``tokens_per_day``; nothing for no traffic."""
        if tokens_per_day <= 0:
            return 0.0
        return self.fleet_usd_per_month(self.capacity.replicas(tokens_per_day), tokens_per_day)

    def api_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month at the API."""
        usd = _a_month(tokens_per_day, self.api_output_usd_per_1m + self.input_per_output * self.api_input_usd_per_1m)
        if self.contract is not None:
            times = tokens_per_day / self.today_tokens_per_day
            listed = self.contract.listed_usd * times
            usd += self.contract.terms_usd(times, usd / listed if listed > 0 else 1.0)
        return usd + _a_month(tokens_per_day, self.either_way_usd_per_1m_output_tokens) + self.committed_usd_per_month

    def crossing_tokens_per_day(self, replicas: int) -> float | None:
        """The least volume at which ``replicas`` at home, were they to carry it, cost no more than the API; None: there is
        none, the API costs less than what grows with volume at home."""

        def saved(tokens_per_day: float) -> float:
            return self.api_usd_per_month(tokens_per_day) - self.fleet_usd_per_month(replicas, tokens_per_day)

        low, high = 0.0, 1.0
        while saved(high) < 0:
            low, high = high, high * 4
            if high > _MOST_TOKENS:
                return None
        if saved(low) >= 0:
            return low
        return float(brentq(saved, low, high, xtol=1e-9, rtol=1e-14))


def _a_month(tokens_per_day: float, usd_per_1m: float) -> float:
    usd: float = tokens_per_day * DAYS_PER_MONTH * usd_per_1m / TOKENS_PER_MILLION
    return usd


def break_even_tokens_per_day(numbers: Economics, *, most_replicas: int = 100_000) -> float | None:
    """The smallest daily volume from which self-hosting stays cheaper than the API; None when it is not with
    ``most_replicas`` either.

    Whole replicas make the cost at home a staircase, which crosses the API's line several times. At a step's foot one more
    replica has just been bought, so the feet decide. A replica of a larger fleet carries no less, so that from the first
    foot at which home is cheaper on it stays cheaper (a contract's discounts may turn that round: it is looked at 1, 2, 4,
    ... replicas up to the most); the crossing lies on the flat part before that foot.
    """

    def foot(n: int) -> bool:
        """Whether home is cheaper just above what ``n`` replicas carry, with one more."""
        volume = numbers.capacity.load(n)
        return numbers.fleet_usd_per_month(n + 1, volume) <= numbers.api_usd_per_month(volume)

    if numbers.contract is None:
        high = 1
        while not foot(high):
            high *= 2
            if high > most_replicas:
                return None
        low = high // 2  # the foot of 0 replicas is never cheaper
    else:
        doublings = [2**k for k in range(most_replicas.bit_length())]
        low = max((n for n in doublings if not foot(n)), default=0)
        high = max(2 * low, 1)
        if high > doublings[-1]:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if foot(middle) else (middle, high)
    crossing = numbers.crossing_tokens_per_day(high)
    return None if crossing is None else max(crossing, numbers.capacity.load(low))


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
    if name == "usd_per_gpu_hour":  # a commitment is a discount on that price
        changed["committed_usd_per_hour"] = numbers.committed_usd_per_hour * value / numbers.usd_per_gpu_hour
    return replace(numbers, **changed)


def flips(numbers: Economics, tokens_per_day: float) -> list[Flip]:
    """For each input the value that flips the cheaper of self-host and API at ``tokens_per_day``, by bisection. Prices move
    the bill of the whole replicas that carry it; speed is taken as a fraction of them: a step is no flip."""
    n = max(1, numbers.capacity.replicas(tokens_per_day))

    def home_minus_api(trial: Economics) -> float:
        used = numbers.capacity.speed / trial.capacity.speed
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
