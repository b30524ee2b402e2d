"""How the lengths of a population's prompts hang together: over time, and within a session. All in ranks.

A rank is the share of all prompts that are shorter. Laws of ranks leave the lengths' own distribution as it is.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

Share = Annotated[float, Field(ge=0, le=1)]
Step = Annotated[float, Field(ge=-1, le=1)]


def _rising(points: tuple[float, ...]) -> tuple[float, ...]:
    if points[0] != 0.0 or points[-1] != 1.0 or list(points) != sorted(points):
        raise ValueError(f"probabilities go from 0 to 1 and do not fall, but got {points}")
    return points


Probabilities = Annotated[
    tuple[float, ...],
    Field(min_length=2, json_schema_extra={"legal": "from 0 to 1, not falling, 2 or more"}),
    AfterValidator(_rising),
]
"""Points of a quantile function."""
LOOKED_BACK = 16
"""Turns of a session that a later one may take its beginning from: agents under one session take turns with it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LengthDrift:
    """Lengths that change over time: in the i-th bin of ``bin_s`` seconds a rank is uniform ** exponent[i].

    Above 1 makes them shorter, below 1 longer; after the last bin lengths stay as in it. Populations with ``sessions``
    do not drift: their prompts grow by turns.
    """

    bin_s: float = Field(gt=0)
    """Length of a bin."""
    input_exponents: tuple[float, ...] = Field(min_length=1, json_schema_extra={"legal": "each > 0, one a bin"})
    """Exponent of the prompts' ranks in each bin; above 0."""
    output_exponents: tuple[float, ...] = Field(min_length=1, json_schema_extra={"legal": "each > 0, one a bin"})
    """Exponent of the answers' ranks in each bin; above 0."""

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

    probabilities: Probabilities
    """Points of all quantile functions below, from 0 to 1."""
    first_ranks: tuple[Share, ...] = Field(min_length=2, json_schema_extra={"legal": "ranks in [0, 1], one a probability"})
    """Quantiles of the first prompt's rank."""
    drop_probability: float = Field(ge=0, le=1)
    """Chance that a turn at the session's top is followed by a drop."""
    drop_ratios: tuple[Share, ...] = Field(min_length=2, json_schema_extra={"legal": "ratios in [0, 1], one a probability"})
    """Quantiles of a drop's rank over that of the top."""
    return_probability: float = Field(ge=0, le=1)
    """Chance that a turn below the top is followed by a return to it."""
    below_steps: tuple[Step, ...] = Field(min_length=2, json_schema_extra={"legal": "steps in [-1, 1], one a probability"})
    """Quantiles of the step in rank from one turn below the top to the next."""
    extend_steps: tuple[tuple[Share, ...], ...] = Field(
        min_length=1, json_schema_extra={"legal": "rows of steps in [0, 1], one a probability"}
    )
    """Quantiles of the step in rank up from the top, a row for each equal part of ranks in which the top lies."""

    @model_validator(mode="after")
    def _check(self) -> SessionPrompts:
        laws = (self.first_ranks, self.drop_ratios, self.below_steps, *self.extend_steps)
        if any(len(points) != len(self.probabilities) for points in laws):
            raise ValueError("first_ranks, drop_ratios, below_steps and extend_steps need one entry a probability")
        return self
