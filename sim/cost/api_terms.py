"""APIs as they are bought: what a contract makes of the listed price of a month's calls. No clock.

    batch      share of the calls that can wait x discount on them
    volume     tokens beyond each threshold of a month x that tier's discount (marginal: those below keep theirs)
    minimum    what a minimum spend a month leaves unused is paid all the same
"""

from __future__ import annotations

from sim.spec.gateway.answers import ApiSpec

TERMS = ("batch discount", "volume discount", "minimum spend unused")


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
