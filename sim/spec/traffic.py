"""What a synthetic workload is made of: arrivals, lengths, their dependence, sessions, shared prefixes, clients."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.prompts import LengthDrift, SessionPrompts
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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeibullArrivals:
    """Renewal arrivals with Weibull gaps; ``shape`` below 1 is burstier than Poisson."""

    kind: Literal["weibull"] = "weibull"
    rate_per_s: float = Field(gt=0)
    shape: float = Field(gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MarkovModulatedArrivals:
    """Poisson arrivals whose rate jumps between states; each state lasts an exponential time, the next is any other
    with equal chance."""

    kind: Literal["mmpp"] = "mmpp"
    rates_per_s: tuple[float, ...] = Field(min_length=2)
    mean_sojourn_s: tuple[float, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> MarkovModulatedArrivals:
        if len(self.rates_per_s) != len(self.mean_sojourn_s):
            raise ValueError("rates_per_s and mean_sojourn_s need one entry a state each")
        if min(self.rates_per_s) < 0 or max(self.rates_per_s) <= 0 or min(self.mean_sojourn_s) <= 0:
            raise ValueError("rates must be at least 0 with one above 0, sojourns above 0")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OnOffArrivals:
    """Silence and bursts in turn, with exponential or heavier (``cv``, lognormal) lengths; Gamma gaps in a burst."""

    kind: Literal["on_off"] = "on_off"
    on_rate_per_s: float = Field(gt=0)
    mean_on_s: float = Field(gt=0)
    mean_off_s: float = Field(gt=0)
    on_cv: float = Field(default=1.0, gt=0)
    off_cv: float = Field(default=1.0, gt=0)
    gap_cv: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfExcitingArrivals:
    """Hawkes process: every arrival brings ``branching`` more on average, each after an exponential ``decay_s``.

    The mean rate, offspring included, is ``rate_per_s``.
    """

    kind: Literal["self_exciting"] = "self_exciting"
    rate_per_s: float = Field(gt=0)
    branching: float = Field(ge=0, lt=1)
    decay_s: float = Field(gt=0)


Arrivals = Annotated[
    PoissonArrivals | GammaArrivals | WeibullArrivals | MarkovModulatedArrivals | OnOffArrivals | SelfExcitingArrivals,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RateProfile:
    """Multipliers of the arrival rate, one for each ``bin_s`` seconds, repeated without end (24 of 3,600 s: a day)."""

    bin_s: float = Field(gt=0)
    multipliers: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> RateProfile:
        if min(self.multipliers) < 0 or max(self.multipliers) <= 0:
            raise ValueError(f"multipliers must be at least 0 and one above 0, but got {self.multipliers}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FlashCrowd:
    """The rate rises to ``factor`` times itself over ``rise_s``, stays ``hold_s`` and falls back over ``fall_s``."""

    start_s: float = Field(ge=0)
    factor: float = Field(gt=0)
    rise_s: float = Field(default=10.0, gt=0)
    hold_s: float = Field(default=60.0, ge=0)
    fall_s: float = Field(default=60.0, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LognormalLengths:
    """Token counts exp(Normal(mu, sigma)), rounded and clipped to [min_tokens, max_tokens]."""

    kind: Literal["lognormal"] = "lognormal"
    mu: float
    sigma: float = Field(ge=0)
    min_tokens: int = Field(default=1, ge=1)
    max_tokens: int = Field(default=1_000_000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> LognormalLengths:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens <= max_tokens must hold, but got {self.min_tokens} > {self.max_tokens}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConstantLengths:
    """Every request has the same length."""

    kind: Literal["constant"] = "constant"
    tokens: int = Field(ge=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalLengths:
    """Inverse of a piecewise-linear quantile function: ``probabilities`` and the ``tokens`` at them."""

    kind: Literal["empirical"] = "empirical"
    probabilities: tuple[float, ...] = Field(min_length=2)
    tokens: tuple[float, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> EmpiricalLengths:
        rising = all(low <= high for points in (self.probabilities, self.tokens) for low, high in itertools.pairwise(points))
        if len(self.probabilities) != len(self.tokens) or not rising:
            raise ValueError("probabilities and tokens need one entry each a point, neither falling")
        if self.probabilities[0] != 0.0 or self.probabilities[-1] != 1.0 or self.tokens[0] < 1:
            raise ValueError(
                f"probabilities go from 0 to 1 and tokens from 1 up, but got {self.probabilities}, {self.tokens}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MixtureLengths:
    """With probability ``weights[i]`` the i-th lognormal, parts in order of size."""

    kind: Literal["mixture"] = "mixture"
    weights: tuple[float, ...] = Field(min_length=1)
    parts: tuple[LognormalLengths, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> MixtureLengths:
        if len(self.weights) != len(self.parts) or min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError("weights need one entry at least 0 for each part, and a sum above 0")
        return self


Lengths = Annotated[LognormalLengths | ConstantLengths | EmpiricalLengths | MixtureLengths, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IndependentLengths:
    """Input and output lengths know nothing of each other."""

    kind: Literal["independent"] = "independent"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GaussianCopula:
    """Ranks of input and output coupled as by a bivariate normal with correlation ``rho``."""

    kind: Literal["gaussian"] = "gaussian"
    rho: float = Field(gt=-1, lt=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalCopula:
    """Joint ranks: ``mass[i][j]`` have the input rank in the i-th and the output rank in the j-th of k parts."""

    kind: Literal["empirical"] = "empirical"
    mass: tuple[tuple[float, ...], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> EmpiricalCopula:
        if any(len(row) != len(self.mass) or min(row) < 0 for row in self.mass) or not any(map(sum, self.mass)):
            raise ValueError("mass is a square of numbers at least 0, with a sum above 0")
        return self


Dependence = Annotated[IndependentLengths | GaussianCopula | EmpiricalCopula, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalSeconds:
    """Quantile function of a time, linear in log seconds between the given points."""

    probabilities: tuple[float, ...] = Field(min_length=2)
    seconds: tuple[float, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _check(self) -> EmpiricalSeconds:
        if len(self.probabilities) != len(self.seconds) or self.probabilities[0] != 0 or self.probabilities[-1] != 1:
            raise ValueError("needs as many seconds as probabilities, and these from 0 to 1")
        if min(self.seconds) <= 0 or list(self.seconds) != sorted(self.seconds):
            raise ValueError(f"seconds must be above 0 and not fall, but got {self.seconds}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SessionSpec:
    """Each arrival opens a conversation. Turn k's prompt is turn k-1's prompt and answer and a new message.

    ``think_s`` (a quantile function in seconds) separates the expected end of an answer, at ``answer_s_per_token``,
    from the next turn; an agent loop is a session with short think times (its tools) and many turns.
    """

    turns: Lengths
    think_s: EmpiricalSeconds
    answer_s_per_token: float = Field(default=0.02, ge=0)
    resend_fraction: float = Field(default=1.0, ge=0, le=1)
    """Share of follow-up turns that send the history again; the others start from their message alone."""
    finish: bool = False
    """Sessions that began before the workload's end go on to their last turn; otherwise turns at or after it are left
    out."""
    prompts: SessionPrompts | None = None
    """None: prompts grow by messages. Otherwise ``input_tokens`` is the law of whole prompts, of which this says how a
    session's follow each other."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixGroups:
    """Shared beginnings: request groups by weight, each with a prompt of its own length before the unique text.

    ``input_tokens`` counts the beginning of a request by itself; in a session it comes before the first message."""

    kind: Literal["groups"] = "groups"
    weights: tuple[float, ...] = Field(min_length=1)
    tokens: tuple[int, ...] = Field(min_length=1)
    """0 marks a group without a shared beginning."""

    @model_validator(mode="after")
    def _check(self) -> PrefixGroups:
        if len(self.weights) != len(self.tokens) or min(self.weights) < 0 or min(self.tokens) < 0:
            raise ValueError("weights and tokens need one entry at least 0 for each group")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixTree:
    """Prompts that grow out of earlier prompts, as block hashes.

    A request repeats the first blocks of an earlier one: how many, by ``shared_fraction`` (of its own blocks; a
    quantile function for each of k equal parts of the input-length ranks, 0 = nothing beyond the trunk), and of
    which request, by ``age_s`` (how long ago that text was last sent). ``trunk_blocks`` begin every prompt.

    With ``kept_fraction`` sessions are kept: a turn after the first repeats the beginning of an earlier one of its
    session, the one that covers most of it, by a quantile function of the share of the shorter of the two; the first of
    the pair where the prompt is as long as the turn's before it or longer, the second where it is shorter.
    """

    kind: Literal["tree"] = "tree"
    block_tokens: int = Field(default=512, ge=1)
    trunk_blocks: int = Field(default=0, ge=0)
    probabilities: tuple[float, ...] = Field(min_length=2)
    shared_fraction: tuple[tuple[float, ...], ...] = Field(min_length=1)
    age_s: EmpiricalSeconds
    kept_fraction: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @model_validator(mode="after")
    def _check(self) -> PrefixTree:
        for points in (*self.shared_fraction, *(self.kept_fraction or ())):
            if len(points) != len(self.probabilities):
                raise ValueError("every entry of shared_fraction and kept_fraction needs one entry a probability")
        return self


Prefix = Annotated[PrefixGroups | PrefixTree, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClientSpec:
    """One population of users with its own arrivals, lengths and labels."""

    arrivals: Arrivals
    input_tokens: Lengths
    """Of a whole prompt; with ``sessions`` that say nothing of prompts, of a message."""
    output_tokens: Lengths
    dependence: Dependence = Field(default_factory=IndependentLengths)
    max_total_tokens: int | None = Field(default=None, ge=2)
    """Input plus output are cut to this, as a model's context limit would: first the prompt, then the answer."""
    profile: RateProfile | None = None
    drift: LengthDrift | None = None
    flash_crowds: tuple[FlashCrowd, ...] = ()
    sessions: SessionSpec | None = None
    prefix: Prefix | None = None
    route: str = ""
    feature: str = ""
    tenant: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GeneratorSpec:
    """A synthetic workload: one population given here, or several ``clients``, each with its own random streams."""

    duration_s: float = Field(gt=0)
    arrivals: Arrivals | None = None
    input_tokens: Lengths | None = None
    output_tokens: Lengths | None = None
    dependence: Dependence = Field(default_factory=IndependentLengths)
    max_total_tokens: int | None = Field(default=None, ge=2)
    profile: RateProfile | None = None
    drift: LengthDrift | None = None
    flash_crowds: tuple[FlashCrowd, ...] = ()
    sessions: SessionSpec | None = None
    prefix: Prefix | None = None
    clients: dict[str, ClientSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> GeneratorSpec:
        own = (self.arrivals, self.input_tokens, self.output_tokens)
        if any(part is not None for part in own) and any(part is None for part in own):
            raise ValueError("arrivals, input_tokens and output_tokens are given together")
        if self.arrivals is None and not self.clients:
            raise ValueError("needs arrivals, input_tokens and output_tokens, or clients")
        return self
