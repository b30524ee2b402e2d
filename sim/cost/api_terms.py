"""APIs as they are bought: what a call is listed at, and what a contract makes of a month of calls. No clock.

    call       (fresh prompt x p_in + cached prompt x p_cached + answer x p_out) x peak factor
               + (prompt + answer) x (guardrail + logging)                      all prices per 1M tokens
    batch      share of the calls that can wait x discount on them
    volume     tokens beyond each threshold of a month x that tier's discount (marginal: those below keep theirs)
    minimum    what a minimum spend a month leaves unused is paid all the same
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.spec.gateway.answers import ApiSpec
from sim.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

TERMS = ("batch discount", "volume discount", "minimum spend unused")
_HOURS_PER_DAY = 24.0


def call_usd(spec: ApiSpec, input_tokens: int, output_tokens: int, now_s: float) -> dict[str, float]:
    """Dollars of one call by part, at the time of day of ``now_s``; ``output_tokens`` are the provider's."""
    prices: tuple[float, float, float] = (
        spec.input_usd_per_1m,
        spec.input_usd_per_1m if spec.cached_input_usd_per_1m is None else spec.cached_input_usd_per_1m,
        spec.output_usd_per_1m,
    )
    for tier in sorted(spec.tiers, key=lambda tier: tier.from_input_tokens):
        if input_tokens >= tier.from_input_tokens:
            prices = (tier.input_usd_per_1m, tier.cached_input_usd_per_1m, tier.output_usd_per_1m)
    hour = now_s / SECONDS_PER_HOUR % _HOURS_PER_DAY
    factor = math.prod(peak.factor for peak in spec.peak_hours if peak.from_hour <= hour < peak.to_hour)
    cached = input_tokens * spec.cached_input_fraction
    tokens = input_tokens + output_tokens
    return {
        "prompt tokens": ((input_tokens - cached) * prices[0] + cached * prices[1]) * factor / TOKENS_PER_MILLION,
        "output tokens": output_tokens * prices[2] * factor / TOKENS_PER_MILLION,
        "guardrails": tokens * spec.guardrail_usd_per_1m / TOKENS_PER_MILLION,
        "logging": tokens * spec.logging_usd_per_1m / TOKENS_PER_MILLION,
    }


def effective_usd_per_1m(spec: ApiSpec, prompt_tokens: float) -> tuple[float, float]:
    """List prices of a million prompt tokens and of a million answer tokens of the trace, for prompts of about
    ``prompt_tokens``: cached share, guardrails, longer answers, and peak hours spread over a day. Exact where the provider
    has neither tiers nor peak hours."""
    prompt, hours = max(round(prompt_tokens), 1), range(int(_HOURS_PER_DAY))
    at_hours = [call_usd(spec, prompt, prompt, hour * SECONDS_PER_HOUR) for hour in hours]
    mean = {part: math.fsum(call[part] for call in at_hours) / len(at_hours) for part in at_hours[0]}
    beside = (mean["guardrails"] + mean["logging"]) / 2
    read, written = mean["prompt tokens"] + beside, (mean["output tokens"] + beside) * spec.output_tokens_factor
    return read / prompt * TOKENS_PER_MILLION, written / prompt * TOKENS_PER_MILLION


@dataclass(frozen=True)
class ApiBill:
    """A month of calls to one provider."""

    spec: ApiSpec
    listed_usd: float
    """At list prices."""
    tokens: float
    """Prompts and answers."""


@dataclass(frozen=True)
class ApiMonth:
    """What a month of today's traffic costs where APIs answer it, and what more or less of that traffic would."""

    bills: tuple[ApiBill, ...]
    """One a provider."""
    by_volume_usd: float = 0.0
    """What grows with the traffic beside them, whoever answers: storage of logs, egress."""
    fixed_usd: float = 0.0
    """What is paid all the same: GPUs committed to."""

    @property
    def listed_usd(self) -> float:
        """All calls at list prices."""
        return math.fsum(bill.listed_usd for bill in self.bills)

    def usd(self, times: float = 1.0, dearer: float = 1.0) -> float:
        """Dollars a month of ``times`` today's traffic at ``dearer`` times the list prices."""
        beside = self.by_volume_usd * times + self.fixed_usd
        return self.listed_usd * times * dearer + self.terms_usd(times, dearer) + beside

    def terms_usd(self, times: float = 1.0, dearer: float = 1.0) -> float:
        """What the contracts add to that, discounts negative."""
        return math.fsum(
            usd
            for bill in self.bills
            for usd in contract_terms(bill.spec, bill.listed_usd * times * dearer, bill.tokens * times, 1.0).values()
        )


def contract_terms(spec: ApiSpec, listed_usd: float, tokens: float, months: float) -> dict[str, float]:
    """Dollars by term, discounts negative, of ``months`` in which calls of ``tokens`` (prompts and answers) are listed at
    ``listed_usd``; empty for a provider without a contract."""
    batch = -listed_usd * spec.batch_fraction * spec.batch_discount_fraction
    volume = -(listed_usd + batch) * volume_discount(spec, tokens / months if months > 0 else 0.0)
    billed = listed_usd + batch + volume
    unused = max(spec.minimum_usd_per_month * months - billed, 0.0)
    return {name: usd for name, usd in zip(TERMS, (batch, volume, unused), strict=True) if usd}


def volume_discount(spec: ApiSpec, tokens_per_month: float) -> float:
    """Mean discount of a month's tokens, as a fraction."""
    if tokens_per_month <= 0 or not spec.volume_discounts:
        return 0.0
    tiers = sorted(spec.volume_discounts, key=lambda tier: tier.from_tokens_per_month)
    ends = [*(tier.from_tokens_per_month for tier in tiers[1:]), float("inf")]
    saved = sum(
        max(min(tokens_per_month, end) - tier.from_tokens_per_month, 0.0) * tier.discount_fraction
        for tier, end in zip(tiers, ends, strict=True)
    )
    return saved / tokens_per_month
