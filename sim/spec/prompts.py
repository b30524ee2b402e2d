"""How the lengths of a population's prompts hang together: over time, and within a session. All in ranks.

A rank is the share of all prompts that are shorter. Laws of ranks leave the lengths' own distribution as it is.
"""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

LOOKED_BACK = 16
"""Turns of a session that a later one may take its beginning from: agents under one session take turns with it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LengthDrift:
    """Lengths that change over time: in the i-th bin of ``bin_s`` seconds a rank is uniform ** exponent[i].

    Above 1 makes them shorter, below 1 longer; after the last bin lengths stay as in it. Populations with ``sessions``
    do not drift: their prompts grow by turns.
    """

    bin_s: float = Field(gt=0)
    input_exponents: tuple[float, ...] = Field(min_length=1)
    output_exponents: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> LengthDrift:
        if len(self.input_exponents) != len(self.output_exponents):
            raise ValueError("input_exponents and output_exponents need one entry each a bin")
        if not min(*self.input_exponents, *self.output_exponents) > 0:
            raise ValueError(f"exponents must be above 0, but got {self.input_exponents}, {self.output_exponents}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SessionPrompts:
    """Whole prompts of a session's turns, where ``input_tokens`` is their law and not that of messages.

    The first prompt's rank is drawn from ``first_ranks``. After that the longest of the last ``LOOKED_BACK`` turns is the
    session's top. A turn at the top is followed by a drop with ``drop_probability`` (to ``drop_ratios`` of the top's
    rank: a sub-agent, a history that was cut), else by a prompt that extends the top; one below the top is followed by
    such a return with ``return_probability``, else by a step of ``below_steps``. An extension is a step up from the top,
    of the law in ``extend_steps`` of the k-th equal part of ranks in which the top lies. All laws are quantile functions
    at ``probabilities``. At last ranks are spread evenly, in their order. What a turn repeats of an earlier one, a
    ``PrefixTree`` says (``kept_fraction``).
    """

    probabilities: tuple[float, ...] = Field(min_length=2)
    first_ranks: tuple[float, ...] = Field(min_length=2)
    drop_probability: float = Field(ge=0, le=1)
    drop_ratios: tuple[float, ...] = Field(min_length=2)
    return_probability: float = Field(ge=0, le=1)
    below_steps: tuple[float, ...] = Field(min_length=2)
    extend_steps: tuple[tuple[float, ...], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> SessionPrompts:
        laws = (self.first_ranks, self.drop_ratios, self.below_steps, *self.extend_steps)
        if any(len(points) != len(self.probabilities) for points in laws):
            raise ValueError("first_ranks, drop_ratios, below_steps and extend_steps need one entry a probability")
        return self
