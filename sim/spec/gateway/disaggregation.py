"""Prefill and decode on different replicas: who decides, in which order the two are asked, how the KV cache travels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.gateway.routing import LeastTokensInFlight, Router
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Split:
    """What all kinds share. The gateway's ``router`` chooses the decode replica, ``prefill_router`` the prefill replica."""

    protocol: Literal["pull", "push", "reserve_first"] = "pull"
    """pull: P computes, then D is asked, reserves blocks and reads (vLLM with NIXL). push: both are asked at once, D
    reserves, and P writes layer by layer while it computes (MoRI-IO's write mode). reserve_first: P begins once D has
    reserved blocks, each prefill chunk travels while the next is computed, and P's token is the answer's first (SGLang)."""
    prefill_router: Router = Field(default_factory=LeastTokensInFlight)
    """Which prefill replica computes a prompt; the default is an assumption (vLLM's example proxy takes them in turn)."""
    hop_s: float = Field(default=0.001, ge=0, le=60)
    """One more message between the proxy and an engine, s: from P's answer to D's request (pull), from D's reservation to P
    (reserve_first); an assumption of one network round trip in a cluster."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AlwaysSplit(Split):
    """Every prompt is computed by a prefill replica (vLLM's example proxy, llm-d's ``always-disagg-pd-decider``)."""

    kind: Literal["always"] = "always"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PrefixSplit(Split):
    """Where at least ``non_cached_tokens`` of the prompt are not in the chosen decode replica's prefix cache (llm-d's
    ``prefix-based-pd-decider``, docs/disaggregation.md). What is cached there is the gateway's own guess from what it sent,
    as in llm-d's approximate prefix producer."""

    kind: Literal["prefix"] = "prefix"
    non_cached_tokens: int = Field(default=0, ge=0)
    """Fewest tokens that have to be computed (``nonCachedTokens``); 0, llm-d's default, = never."""
    prompt_tokens: int = Field(default=0, ge=0)
    """Prompts shorter than this stay on the decode replica (``promptTokens``)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EffectiveLengthSplit(Split):
    """Unless the tokens to compute on the chosen decode replica are few, absolutely and as a part of the prompt: they stay
    there where both are below their thresholds (Dynamo's conditional disaggregation, policy ``isl_bounding``,
    lib/kv-router/src/conditional_disagg.rs)."""

    kind: Literal["effective_length"] = "effective_length"
    threshold_tokens: int = Field(default=2048, ge=0)
    """Tokens to compute (``--router-conditional-disagg-eff-isl-threshold``)."""
    ratio_threshold: float = Field(default=0.7, ge=0, le=1)
    """Tokens to compute / prompt (``--router-conditional-disagg-eff-isl-ratio-threshold``)."""
    decode_busy_threshold: float | None = Field(default=None, ge=0)
    """Nothing stays on a decode replica whose prompts in flight exceed this part of its KV cache
    (``--router-conditional-disagg-decode-busy-threshold``); null, Dynamo's default, = no such guard."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoadSplit(Split):
    """Unless the chosen prefill replica is busy (Dynamo's policy ``prefill_load``); with ``threshold_tokens`` also unless
    few tokens are to be computed, as ``effective_length`` says (``isl_or_load``)."""

    kind: Literal["load"] = "load"
    prefill_busy_threshold: float = Field(ge=0)
    """A prefill replica is busy whose prompts in flight exceed so many times its ``max_num_batched_tokens``
    (``--router-conditional-disagg-prefill-busy-threshold``; Dynamo has no default either)."""
    threshold_tokens: int = Field(default=0, ge=0)
    """As in ``effective_length`` (2048 is Dynamo's default for ``isl_or_load``); 0 = the load alone decides."""
    ratio_threshold: float = Field(default=0.7, ge=0, le=1)
    """As in ``effective_length``, with ``threshold_tokens``."""
    decode_busy_threshold: float | None = Field(default=None, ge=0)
    """As in ``effective_length``; null, Dynamo's default, = no such guard."""


Disaggregation = Annotated[AlwaysSplit | PrefixSplit | EffectiveLengthSplit | LoadSplit, Field(discriminator="kind")]
