"""What a synthetic workload is made of besides arrivals: lengths, their dependence, sessions, shared prefixes, clients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.arrivals import Arrivals, FlashCrowd, RateProfile
from sim.spec.prompts import LengthDrift, Probabilities, SessionPrompts, Share
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LognormalLengths:
    """Token counts exp(Normal(mu, sigma)), rounded and clipped to [min_tokens, max_tokens]."""

    kind: Literal["lognormal"] = "lognormal"
    mu: float = Field(ge=-30, le=30)
    """Mean of the logarithm: the median is exp(mu) tokens."""
    sigma: float = Field(ge=0)
    """Standard deviation of the logarithm."""
    min_tokens: int = Field(default=1, ge=1)
    """Shorter lengths become this."""
    max_tokens: int = Field(default=1_000_000, ge=1)
    """Longer lengths become this; the default is an assumption."""

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
    """Length of every prompt (answer)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalLengths:
    """Inverse of a piecewise-linear quantile function: ``probabilities`` and the ``tokens`` at them."""

    kind: Literal["empirical"] = "empirical"
    probabilities: Probabilities
    """Points of the quantile function, from 0 to 1, not falling."""
    tokens: tuple[float, ...] = Field(min_length=2, json_schema_extra={"legal": "each >= 1, not falling, one a probability"})
    """Length at each point, from 1 up, not falling."""

    @model_validator(mode="after")
    def _check(self) -> EmpiricalLengths:
        if len(self.probabilities) != len(self.tokens) or list(self.tokens) != sorted(self.tokens):
            raise ValueError("probabilities and tokens need one entry each a point, neither falling")
        if self.tokens[0] < 1:
            raise ValueError(f"tokens go from 1 up, but got {self.tokens}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MixtureLengths:
    """With probability ``weights[i]`` the i-th lognormal, parts in order of size."""

    kind: Literal["mixture"] = "mixture"
    weights: tuple[float, ...] = Field(min_length=1, json_schema_extra={"legal": "each >= 0, one above 0"})
    """Chance of each part, scaled to add up to 1; at least 0."""
    parts: tuple[LognormalLengths, ...] = Field(min_length=1)
    """The lognormals, in order of size."""

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
    """Correlation of the two normals; above 0, long prompts have long answers."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalCopula:
    """Joint ranks: ``mass[i][j]`` have the input rank in the i-th and the output rank in the j-th of k parts."""

    kind: Literal["empirical"] = "empirical"
    mass: tuple[tuple[float, ...], ...] = Field(min_length=1, json_schema_extra={"legal": "square, each >= 0, one above 0"})
    """A square of weights: a row for each part of the input's ranks, a column for each of the output's."""

    @model_validator(mode="after")
    def _check(self) -> EmpiricalCopula:
        if any(len(row) != len(self.mass) or min(row) < 0 for row in self.mass) or not any(map(sum, self.mass)):
            raise ValueError("mass is a square of numbers at least 0, with a sum above 0")
        return self


Dependence = Annotated[IndependentLengths | GaussianCopula | EmpiricalCopula, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmpiricalSeconds:
    """Quantile function of a time, linear in log seconds between the given points."""

    probabilities: Probabilities
    """Points of the quantile function, from 0 to 1."""
    seconds: tuple[float, ...] = Field(min_length=2, json_schema_extra={"legal": "each > 0, not falling, one a probability"})
    """Time at each point, above 0, not falling."""

    @model_validator(mode="after")
    def _check(self) -> EmpiricalSeconds:
        if len(self.probabilities) != len(self.seconds):
            raise ValueError("needs as many seconds as probabilities")
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
    """How many turns a conversation has (drawn like a length)."""
    think_s: EmpiricalSeconds
    """From the expected end of an answer to the next turn, as a quantile function."""
    answer_s_per_token: float = Field(default=0.02, ge=0)
    """What an answer is expected to take; an assumption."""
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
    weights: tuple[float, ...] = Field(min_length=1, json_schema_extra={"legal": "each >= 0, one above 0"})
    """Chance of each group, scaled to add up to 1; at least 0."""
    tokens: tuple[int, ...] = Field(min_length=1, json_schema_extra={"legal": "each >= 0, one a weight"})
    """0 marks a group without a shared beginning."""

    @model_validator(mode="after")
    def _check(self) -> PrefixGroups:
        if len(self.weights) != len(self.tokens) or min(self.weights) < 0 or min(self.tokens) < 0:
            raise ValueError("weights and tokens need one entry at least 0 for each group")
        if sum(self.weights) <= 0:
            raise ValueError(f"weights need a sum above 0, but got {self.weights}")
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
    """Tokens of a block; the default is that of Mooncake's traces."""
    trunk_blocks: int = Field(default=0, ge=0)
    """Blocks that every prompt begins with."""
    probabilities: Probabilities
    """Points of the quantile functions below, from 0 to 1."""
    shared_fraction: tuple[tuple[Share, ...], ...] = Field(
        min_length=1, json_schema_extra={"legal": "rows of shares in [0, 1], one a probability"}
    )
    """Share of a prompt's blocks that repeat an earlier one: a quantile function for each equal part of the lengths'
    ranks."""
    age_s: EmpiricalSeconds
    """How long ago the repeated text was last sent, as a quantile function."""
    kept_fraction: tuple[tuple[Share, ...], tuple[Share, ...]] | None = Field(
        default=None, json_schema_extra={"legal": "two rows of shares in [0, 1], one a probability | null"}
    )
    """Share of the shorter of two prompts of a session that both begin with: quantiles where the later is as long or longer,
    and where it is shorter; None = sessions are not kept."""

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
    """When requests (with ``sessions``: conversations) begin."""
    input_tokens: Lengths
    """Of a whole prompt; with ``sessions`` that say nothing of prompts, of a message."""
    output_tokens: Lengths
    """Of an answer."""
    dependence: Dependence = Field(default_factory=IndependentLengths)
    """How the lengths of a prompt and its answer hang together."""
    max_total_tokens: int | None = Field(default=None, ge=2)
    """Input plus output are cut to this, as a model's context limit would: first the prompt, then the answer."""
    profile: RateProfile | None = None
    """How the rate changes over time; None = it does not."""
    drift: LengthDrift | None = None
    """How lengths change over time; None = they do not."""
    flash_crowds: tuple[FlashCrowd, ...] = ()
    """Rises of the rate."""
    sessions: SessionSpec | None = None
    """Conversations of several turns; None = single requests."""
    prefix: Prefix | None = None
    """Which beginnings prompts share; None = none."""
    route: str = ""
    """Label of its requests: what ``slo.routes`` and policies go by."""
    feature: str = ""
    """Label of its requests: the product's feature, for the shares of the bill."""
    tenant: str = ""
    """Label of its requests: who is served, for budgets, fairness and ``slo.tenants``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GeneratorSpec:
    """A synthetic workload: one population given here, or several ``clients``, each with its own random streams."""

    duration_s: float = Field(gt=0)
    """Length of the workload: arrivals lie in [0, ``duration_s``)."""
    arrivals: Arrivals | None = None
    """Of the one population: when requests begin. None = ``clients`` alone."""
    input_tokens: Lengths | None = None
    """As a client's, of the one population."""
    output_tokens: Lengths | None = None
    """As a client's, of the one population."""
    dependence: Dependence = Field(default_factory=IndependentLengths)
    """How the lengths of a prompt and its answer hang together, as a client's."""
    max_total_tokens: int | None = Field(default=None, ge=2)
    """Input plus output are cut to this, as a client's."""
    profile: RateProfile | None = None
    """How the rate changes over time, as a client's; None = it does not."""
    drift: LengthDrift | None = None
    """How lengths change over time, as a client's; None = they do not."""
    flash_crowds: tuple[FlashCrowd, ...] = ()
    """Rises of the rate, as a client's."""
    sessions: SessionSpec | None = None
    """Conversations of several turns, as a client's; None = single requests."""
    prefix: Prefix | None = None
    """Which beginnings prompts share, as a client's; None = none."""
    clients: dict[str, ClientSpec] = Field(default_factory=dict)
    """Name -> population; each draws from random streams of its own name, so that changing one leaves the others' requests
    as they are."""

    @model_validator(mode="after")
    def _check(self) -> GeneratorSpec:
        own = (self.arrivals, self.input_tokens, self.output_tokens)
        if any(part is not None for part in own) and any(part is None for part in own):
            raise ValueError("arrivals, input_tokens and output_tokens are given together")
        if self.arrivals is None and not self.clients:
            raise ValueError("needs arrivals, input_tokens and output_tokens, or clients")
        return self
