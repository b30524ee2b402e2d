"""Where requests come from: a trace file or a generator, and the transformations applied to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoissonArrivals:
    """Independent arrivals: exponential gaps."""

    kind: Literal["poisson"] = "poisson"
    rate_per_s: float = Field(gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GammaArrivals:
    """Renewal arrivals with Gamma gaps; ``cv`` above 1 is burstier than Poisson."""

    kind: Literal["gamma"] = "gamma"
    rate_per_s: float = Field(gt=0)
    cv: float = Field(gt=0)


Arrivals = Annotated[PoissonArrivals | GammaArrivals, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LognormalLengths:
    """Token counts exp(Normal(mu, sigma)), rounded and clipped to [min_tokens, max_tokens]."""

    kind: Literal["lognormal"] = "lognormal"
    mu: float
    sigma: float = Field(ge=0)
    min_tokens: int = Field(default=1, ge=1)
    max_tokens: int = Field(default=1_000_000, ge=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConstantLengths:
    """Every request has the same length."""

    kind: Literal["constant"] = "constant"
    tokens: int = Field(ge=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalLengths:
    """Inverse of a piecewise-linear quantile function: ``probabilities`` and the ``tokens`` at them."""

    kind: Literal["empirical"] = "empirical"
    probabilities: tuple[float, ...]
    tokens: tuple[float, ...]


Lengths = Annotated[LognormalLengths | ConstantLengths | EmpiricalLengths, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GeneratorSpec:
    """A synthetic workload: arrivals, input lengths, output lengths, drawn from independent named streams."""

    arrivals: Arrivals
    input_tokens: Lengths
    output_tokens: Lengths
    duration_s: float = Field(gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WorkloadSpec:
    """One source (``path``, or the packaged trace ``packaged``, or ``generator``) and what is done to it, in this order:
    window (``start_s``, ``duration_s``), ``limit``, ``rate_scale``."""

    name: str = "custom"
    path: str | None = None
    packaged: str | None = None
    """File name of a trace that ships with servecap."""
    generator: GeneratorSpec | None = None
    format: str = "auto"
    start_s: float = Field(default=0.0, ge=0)
    duration_s: float | None = Field(default=None, gt=0)
    limit: int | None = Field(default=None, ge=1)
    rate_scale: float = Field(default=1.0, gt=0)
    """Below 1 thins by one fixed uniform per request (rates nest); above 1 superposes circularly shifted copies."""
    rate_mode: Literal["superpose", "squeeze"] = "superpose"
    warmup_s: float = Field(default=0.0, ge=0)
    """Requests before it are simulated and recorded, and left out of latency and goodput."""
    block_tokens: int = Field(default=512, ge=1)
    """Tokens in one block of a trace's ``block_hashes``."""
    lenient: bool = False
    """True drops rows that cannot be used and counts them by reason, instead of refusing the file."""
    source: str = ""

    @model_validator(mode="after")
    def _check(self) -> WorkloadSpec:
        if self.path is None and self.packaged is None and self.generator is None:
            raise ValueError("needs one of path (a trace file), packaged or generator")
        return self
