"""Self-host, API or hybrid: dollars a month over daily volume, and where the lines cross.

    API       volume x (input share x input price + output share x output price)
    self-host replicas(volume) x $ per replica-month x (1 + overhead) + fixed $ per month
    hybrid    a share of the traffic at home, the rest (escalated, too long) at the API

``replicas(volume)`` is a ceiling: whole replicas, each sustaining ``tokens_per_day`` within the SLO (a capacity search
gives it: output tokens a second x 86,400), at ``utilisation`` (traffic is not flat: the share of that capacity which a
month's average can use, nights and headroom taken off). Volumes are output tokens a day. Left out: volume discounts,
rate limits, migration, and that a model at home may differ in quality from one behind an API.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sim.errors import ConfigError
from sim.units import HOURS_PER_MONTH, TOKENS_PER_MILLION

DAYS_PER_MONTH = HOURS_PER_MONTH / 24


@dataclass(frozen=True, kw_only=True)
class Economics:
    """The numbers of one comparison."""

    usd_per_replica_hour: float
    tokens_per_day: float
    """Output tokens that one replica delivers a day at its highest load within the SLO."""
    utilisation: float = 0.6
    """Share of that capacity used on average over the month, in (0, 1]."""
    overhead_fraction: float = 0.0
    fixed_usd_per_month: float = 0.0
    """Engineers, evaluation: what does not grow with volume."""
    retry_amplification: float = 1.0
    """Tokens produced per token delivered, >= 1; paid for at home and at the API."""
    input_per_output: float = 4.0
    """Prompt tokens per output token."""
    api_input_usd_per_1m: float = 0.0
    api_output_usd_per_1m: float = 0.0
    home_share: float = 0.7
    """Hybrid: share of the tokens that stay at home."""

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("tokens_per_day", self.tokens_per_day > 0, "> 0"),
            ("utilisation", 0 < self.utilisation <= 1, "in (0, 1]"),
            ("retry_amplification", self.retry_amplification >= 1, ">= 1"),
            ("home_share", 0 <= self.home_share <= 1, "in [0, 1]"),
            ("usd_per_replica_hour", self.usd_per_replica_hour >= 0, ">= 0"),
        ):
            if not holds:
                raise ConfigError(f"{name} must be {rule}, but got {getattr(self, name)!r}")

    def replicas(self, tokens_per_day: float) -> int:
        """Whole replicas for a daily volume of delivered output tokens."""
        return math.ceil(tokens_per_day * self.retry_amplification / (self.tokens_per_day * self.utilisation) - 1e-9)

    def self_host_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month at home; nothing for no traffic."""
        if tokens_per_day <= 0:
            return 0.0
        machines = self.replicas(tokens_per_day) * self.usd_per_replica_hour * HOURS_PER_MONTH
        return machines * (1 + self.overhead_fraction) + self.fixed_usd_per_month

    def api_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month at the API."""
        per_token = (self.api_output_usd_per_1m + self.input_per_output * self.api_input_usd_per_1m) / TOKENS_PER_MILLION
        return tokens_per_day * self.retry_amplification * DAYS_PER_MONTH * per_token

    def hybrid_usd_per_month(self, tokens_per_day: float) -> float:
        """Dollars a month with ``home_share`` at home and the rest at the API."""
        at_home = tokens_per_day * self.home_share
        return self.self_host_usd_per_month(at_home) + self.api_usd_per_month(tokens_per_day - at_home)

    def usd_per_1m(self, usd_per_month: float, tokens_per_day: float) -> float:
        """Dollars a month as dollars per million output tokens; NaN without traffic."""
        tokens = tokens_per_day * DAYS_PER_MONTH
        return usd_per_month / tokens * TOKENS_PER_MILLION if tokens > 0 else math.nan


def break_even_tokens_per_day(numbers: Economics, *, most_tokens_per_day: float = 1e12) -> float | None:
    """The smallest daily volume from which self-hosting stays cheaper than the API up to ``most_tokens_per_day``; None
    when it never is.

    Whole replicas make the cost at home a staircase: it crosses the API's line several times. At a step's foot one more
    replica has just been bought, so the feet decide: beyond the last foot where the API is cheaper, the crossing lies
    on that step's own flat part.
    """
    api_per_token = numbers.api_usd_per_month(1.0)
    per_replica = numbers.usd_per_replica_hour * HOURS_PER_MONTH * (1 + numbers.overhead_fraction)
    volume_of_a_replica = numbers.tokens_per_day * numbers.utilisation / numbers.retry_amplification
    slope_home = per_replica / volume_of_a_replica
    if api_per_token <= slope_home:
        return None
    # at the foot of step n the volume is just above (n - 1) x volume_of_a_replica and n replicas are paid for
    # the API is dearer there when api x (n - 1) x v >= n x r + fixed
    n = (numbers.fixed_usd_per_month + api_per_token * volume_of_a_replica) / (
        (api_per_token - slope_home) * volume_of_a_replica
    )
    first_safe = max(1, math.ceil(n - 1e-9))  # from this step on its foot is already cheaper at home
    before = max(first_safe - 1, 1)
    crossing = (before * per_replica + numbers.fixed_usd_per_month) / api_per_token
    volume = min(crossing, before * volume_of_a_replica) if first_safe > 1 else 0.0
    return volume if volume <= most_tokens_per_day else None


@dataclass(frozen=True)
class Flip:
    """What one number would have to be for the API and self-hosting to cost the same at today's volume."""

    name: str
    today: float
    flips_at: float | None
    """None when no value within the range searched flips the decision."""


FLIPS: tuple[tuple[str, float, float], ...] = (
    ("utilisation", 0.01, 1.0), ("usd_per_replica_hour", 1e-3, 1e4), ("api_output_usd_per_1m", 1e-4, 1e4),
    ("tokens_per_day", 1e3, 1e12), ("retry_amplification", 1.0, 100.0), ("input_per_output", 0.0, 1e3),
    ("fixed_usd_per_month", 0.0, 1e9),
)  # fmt: skip
"""Field of ``Economics``, least and most value searched. A longer context acts through ``tokens_per_day`` (fewer tokens
fit a replica) and ``input_per_output``."""


def flips(numbers: Economics, tokens_per_day: float) -> list[Flip]:
    """For each input the value that flips the cheaper of self-host and API at ``tokens_per_day``, by bisection; the
    replicas are taken as a fraction here, so that the answer does not hang on where a step lies."""

    def home_minus_api(trial: Economics) -> float:
        need = tokens_per_day * trial.retry_amplification / (trial.tokens_per_day * trial.utilisation)
        machines = need * trial.usd_per_replica_hour * HOURS_PER_MONTH * (1 + trial.overhead_fraction)
        return machines + trial.fixed_usd_per_month - trial.api_usd_per_month(tokens_per_day)

    found = []
    for name, least, most in FLIPS:
        low, high = least, most
        at_low, at_high = (home_minus_api(replace(numbers, **{name: edge})) for edge in (low, high))
        today = float(getattr(numbers, name))
        if (at_low > 0) == (at_high > 0):
            found.append(Flip(name, today, None))
            continue
        for _ in range(200):
            middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
            if (home_minus_api(replace(numbers, **{name: middle})) > 0) == (at_low > 0):
                low = middle
            else:
                high = middle
        found.append(Flip(name, today, (low + high) / 2))
    return found


def curve(numbers: Economics, volumes: Sequence[float]) -> list[dict[str, float]]:
    """One row a volume: dollars a month of the three ways, and per million output tokens."""
    rows = []
    for volume in volumes:
        row = {"tokens_per_day": volume}
        for name, usd in (
            ("self_host", numbers.self_host_usd_per_month(volume)),
            ("api", numbers.api_usd_per_month(volume)),
            ("hybrid", numbers.hybrid_usd_per_month(volume)),
        ):
            row[f"{name}_usd_per_month"] = usd
            row[f"{name}_usd_per_1m"] = numbers.usd_per_1m(usd, volume)
        rows.append(row)
    return rows
