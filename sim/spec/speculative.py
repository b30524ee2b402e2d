"""Speculative decoding of one engine: how drafts are made, how many, and how many of them the target accepts.

Names as in vLLM's ``--speculative-config``. Standard rejection sampling, left to right: the first refused draft ends a
verification, which yields the accepted ones and one token more. With p_i the share of verifications whose first i drafts
were all accepted (unconditional, not increasing), the acceptance length is AL(K) = 1 + p_1 + ... + p_K.

Where no acceptance is stated, the method's own curve of ``MEASURED_RATES`` stands for it; it is a property of model, draft
and text, so state one's own. Sources: vLLM 0.33 ``v1/spec_decode``, ``rejection_sampler.py`` (whose ``synthetic`` method
takes the same two ways to state it); SemiAnalysis InferenceX ``golden_al_distribution``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.model import ModelSpec
from sim.spec.strict import STRICT

Method = Literal["ngram", "eagle", "eagle3", "mtp", "draft_model"]
Share = Annotated[float, Field(ge=0, le=1)]

_EAGLE3 = (0.660, 0.377, 0.215, 0.136, 0.088, 0.060, 0.043, 0.027)
_LLAMA = ("llama3_8b", "Llama-3.1-8B")


class MeasuredRates(NamedTuple):
    """Unconditional acceptance by position: differences of acceptance lengths."""

    rates: tuple[float, ...]
    source: str
    """What was measured."""
    measured_on: tuple[str, ...]
    """Names of the model, as ``Acceptance.measured_on``."""


_EAGLE3_ON_LLAMA = MeasuredRates(_EAGLE3, "EAGLE-3 on Llama-3.1-8B, 310 ShareGPT requests", _LLAMA)
MEASURED_RATES: dict[Method, MeasuredRates] = {
    "eagle": _EAGLE3_ON_LLAMA,
    "eagle3": _EAGLE3_ON_LLAMA,
    "mtp": MeasuredRates(
        (0.84, 0.66, 0.49, 0.34, 0.28, 0.17, 0.14, 0.14), "GLM-5.2-FP8 MTP on SPEED-Bench coding, InferenceX", ("glm-5.2",)
    ),
    "ngram": MeasuredRates(
        (0.236, 0.103, 0.056, 0.033, 0.023, 0.016, 0.012, 0.008), "n-gram, Llama-3.1-8B, 310 ShareGPT requests", _LLAMA
    ),
    "draft_model": MeasuredRates(_EAGLE3, "assumed: as EAGLE-3 on Llama-3.1-8B", _LLAMA),
}
"""Of each method, where nothing is stated."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AcceptedDrafts:
    """How many drafts are accepted, stated in one of two ways; neither = the method's own curve."""

    rates: tuple[Share, ...] | None = None
    """Share of verifications whose first 1, 2, ... drafts were all accepted, not increasing; positions behind the last keep
    its ratio to the one before (vLLM's ``synthetic_acceptance_rates``)."""
    length: float | None = Field(default=None, ge=1)
    """Mean tokens of a verification with all drafts, 1 to drafts + 1 (vLLM's ``synthetic_acceptance_length``)."""

    @model_validator(mode="after")
    def _check(self) -> AcceptedDrafts:
        if self.rates is not None and self.length is not None:
            raise ValueError(f"state rates or length, but got both: {self.rates} and {self.length}")
        if self.rates is not None and (not self.rates or list(self.rates) != sorted(self.rates, reverse=True)):
            raise ValueError(f"rates must be some that do not increase, but got {list(self.rates)}")
        return self

    @property
    def stated(self) -> bool:
        """Whether it says anything."""
        return self.rates is not None or self.length is not None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Acceptance(AcceptedDrafts):
    """Acceptance of drafts, by route where it differs. A bare list is read as ``rates``, a number above 1 as ``length``."""

    schedule: Literal["drawn", "even"] = "drawn"
    """drawn (the default, as in vLLM's synthetic sampler): every verification by chance, each request from its own random
    stream; even: the minimum-variance schedule, as near to the mean at every verification as whole drafts can be."""
    routes: dict[str, AcceptedDrafts] = Field(default_factory=dict)
    """Route -> its own acceptance: code and mathematics accept more than conversation."""
    measured_on: tuple[str, ...] = ()
    """Names of the model on which the figures were measured; where the served model's name contains none of them, the run
    says so. Empty, the default, = not stated."""
    source: str = ""
    """Where the figures are from; for display."""


def _acceptance(stated: Any) -> Any:
    if isinstance(stated, bool) or stated == 1:
        raise ValueError(f"say which is meant, {{length: 1}} or {{rates: [1]}}, but got {stated!r}")
    if isinstance(stated, int | float):
        if stated < 1:
            raise ValueError(f"a bare number is the acceptance length, at least 1; rates are a list, but got {stated!r}")
        return {"length": stated}
    if isinstance(stated, list | tuple):
        return {"rates": tuple(stated)}
    if isinstance(stated, Mapping):
        return {key: value for key, value in stated.items() if value is not None}
    return {} if stated is None else stated


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpeculativeSpec:
    """Drafts that the model verifies several at a time. Off unless a method and a number of drafts are stated."""

    method: Method | None = None
    """Who drafts: text seen before (ngram), a layer on the target's states (eagle, eagle3), the model's own prediction
    layers (mtp), another model (draft_model); null = nobody. vLLM does not schedule n-gram drafts asynchronously."""
    num_speculative_tokens: int = Field(default=0, ge=0, le=64)
    """Drafts a verification, at the most; 0 = none."""
    num_speculative_tokens_per_batch_size: tuple[tuple[int, int, int], ...] | None = Field(
        default=None, json_schema_extra={"legal": "rows of [from, to, drafts], from 1 up | null"}
    )
    """Fewer drafts in larger batches: rows of first and last number of requests scheduled in a step, and the drafts that
    follow it; sizes in a gap or behind the last row take the row before. Null = always ``num_speculative_tokens``."""
    acceptance: Annotated[Acceptance, BeforeValidator(_acceptance)] = field(default_factory=Acceptance)
    """How many drafts the target accepts; the default is measured on the method (servecap's own key: a real engine finds
    out). A trace's column ``accept`` goes before it."""
    model: ModelSpec | None = None
    """The draft model's geometry; needed by draft_model, in place of the one that follows from the target elsewhere."""
    draft_vocab_size: int | None = Field(default=None, ge=1)
    """Entries of the drafting head; null = 32,000 for eagle3, as published EAGLE-3 drafts have, else the target's."""
    draft_tensor_parallel_size: int | None = Field(default=None, ge=1)
    """GPUs that share the draft's layers; null = as the target."""
    parallel_drafting: bool = False
    """All drafts in one pass of the draft, instead of one pass each."""
    num_nextn_predict_layers: int = Field(default=1, ge=1, le=16)
    """With mtp: prediction modules of the checkpoint; the usual checkpoint has one, used again for each further draft."""
    disable_lookahead_block_hashes: bool = False
    """Blocks are known by their own tokens alone; the last block of a prefix hit is computed again then (vLLM's option)."""

    @property
    def drafts(self) -> int:
        """Most drafts a verification; 0 = speculation is off."""
        return self.num_speculative_tokens if self.method is not None else 0

    @property
    def draft_layers(self) -> bool:
        """Drafting runs layers on the GPU."""
        return self.method not in (None, "ngram")

    def lookahead_slots(self) -> int:
        """KV slots that a running request has beyond its tokens."""
        return 0 if self.method == "ngram" else self.drafts

    def extra_rows(self) -> int:
        """Rows of the input buffer that a request takes besides its tokens."""
        if not self.drafts or self.method == "ngram":
            return 0
        parallel = self.drafts - 1 if self.parallel_drafting else 0
        return parallel + 1 if self.method == "draft_model" else parallel

    def prefill_lookahead(self) -> int:
        """Prompt tokens that the drafting layers read ahead of the target."""
        if not self.drafts or self.method in ("ngram", "draft_model"):
            return 0
        return self.drafts if self.method == "mtp" and min(self.num_nextn_predict_layers, self.drafts) > 1 else 1

    @model_validator(mode="after")
    def _check(self) -> SpeculativeSpec:
        if self.method is None and self.num_speculative_tokens:
            raise ValueError(f"num_speculative_tokens={self.num_speculative_tokens} needs a method that makes them")
        length, drafts = self.acceptance.length, self.drafts
        if length is not None and drafts and length > drafts + 1:
            raise ValueError(f"acceptance.length is at most drafts + 1 = {drafts + 1}, but got {length}")
        rows = self.num_speculative_tokens_per_batch_size
        if rows is not None:
            self._check_rows(rows)
        if self.num_nextn_predict_layers > 1 and self.method not in (None, "mtp"):
            raise ValueError(f"num_nextn_predict_layers belongs to mtp, but got method {self.method}")
        return self

    def _check_rows(self, rows: tuple[tuple[int, int, int], ...]) -> None:
        end = 0
        for first, last, drafts in rows:
            if first <= end or last < first or drafts < 0 or (end == 0 and first != 1):
                raise ValueError(
                    "num_speculative_tokens_per_batch_size: rows [from, to, drafts] must begin at 1 and ascend without "
                    f"overlap, but got {[list(row) for row in rows]}"
                )
            end = last
        if not rows:
            raise ValueError("num_speculative_tokens_per_batch_size: needs a row, or null")


def none_is_off(stated: Any) -> Any:
    """``engine.speculative=null`` switches it off."""
    return {} if stated is None else stated


def rates_of(accepted: AcceptedDrafts, method: Method, drafts: int) -> tuple[float, ...]:
    """Unconditional acceptance of each of ``drafts`` positions. A stated length is spread geometrically, as measured curves
    nearly are: p_i = c^i with c + ... + c^drafts = length - 1."""
    if accepted.length is not None:
        return _geometric(accepted.length - 1.0, drafts)
    known = accepted.rates or MEASURED_RATES[method].rates
    found = list(known[:drafts])
    ratio = known[-1] / known[-2] if len(known) > 1 and known[-2] > 0 else known[-1]
    while len(found) < drafts:
        found.append(found[-1] * ratio)
    return tuple(found)


def _geometric(accepted: float, drafts: int) -> tuple[float, ...]:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(middle**i for i in range(1, drafts + 1)) < accepted:
            low = middle
        else:
            high = middle
    return tuple(high**i for i in range(1, drafts + 1))
