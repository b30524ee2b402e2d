"""Deciders: whether a prompt is computed by a prefill replica, or where its answer is generated.

    prefix             remote iff  prompt - cached >= non_cached_tokens > 0   and  prompt >= prompt_tokens
    effective_length   local  iff  e = prompt - cached < threshold_tokens     and  e / prompt < ratio_threshold
    load               local  iff  the prefill replica is busy, or as effective_length says
    the last two       remote also where the decode replica is busy

``cached``: of the prompt, at the decode replica that was chosen. A prefill replica is busy whose prompts in flight exceed
``prefill_busy_threshold`` x its token budget of a step; a decode replica where they, with this one, exceed
``decode_busy_threshold`` x its KV cache. All of it the gateway knows from its own books.

Sources: llm-d-router docs/disaggregation.md, ``prefix_based_pd_decider.go`` (``NonCachedTokens == 0`` disables it); Dynamo
lib/kv-router/src/conditional_disagg.rs (``IslBoundingPolicy``, ``PrefillLoadPolicy``, ``IslOrLoadPolicy``) and
lib/llm/src/kv_router/prefill_router/conditional_bypass.rs (``decode_gate_allows_bypass``); read 2026-11-26.
Left out: Dynamo's KV events, which tell what a replica has evicted meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sim.spec.gateway.disaggregation import (
    AlwaysSplit,
    Disaggregation,
    EffectiveLengthSplit,
    LoadSplit,
    PrefixSplit,
)


class Pair(NamedTuple):
    """What is known of a request and of the two replicas that would serve it."""

    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, at the decode replica."""
    prefill_load: float
    """Prompt tokens in flight at the prefill replica / its token budget of a step."""
    decode_load: float
    """Prompt tokens in flight at the decode replica, with this prompt / tokens of its KV cache."""


class Decider(Protocol):
    """A policy of disaggregation."""

    uses_cache: bool
    """Whether ``cached_tokens`` has to be known."""

    def remote(self, pair: Pair) -> bool:
        """Whether a prefill replica computes the prompt."""
        ...


class PrefixDecider:
    """llm-d's; see the module's head."""

    def __init__(self, spec: PrefixSplit) -> None:
        self.uses_cache = spec.non_cached_tokens > 0
        self._fewest = spec.non_cached_tokens
        self._shortest = spec.prompt_tokens

    def remote(self, pair: Pair) -> bool:
        """See ``Decider``."""
        if not self._fewest or pair.prompt_tokens < self._shortest:
            return False
        return pair.prompt_tokens - pair.cached_tokens >= self._fewest


class EffectiveLengthDecider:
    """Dynamo's ``isl_bounding``; see the module's head."""

    def __init__(self, threshold_tokens: int, ratio_threshold: float, decode_busy_threshold: float | None) -> None:
        self.uses_cache = True
        self._threshold = threshold_tokens
        self._ratio = ratio_threshold
        self._decode_busy = decode_busy_threshold

    def remote(self, pair: Pair) -> bool:
        """See ``Decider``."""
        return not self.short(pair) or self.decode_is_busy(pair)

    def short(self, pair: Pair) -> bool:
        """Whether few tokens are to be computed."""
        effective = max(pair.prompt_tokens - pair.cached_tokens, 0)
        return effective < self._threshold and effective / max(pair.prompt_tokens, 1) < self._ratio

    def decode_is_busy(self, pair: Pair) -> bool:
        """Whether the decode replica should compute no prompt."""
        return self._decode_busy is not None and pair.decode_load > self._decode_busy


class LoadDecider:
    """Dynamo's ``prefill_load`` and ``isl_or_load``; see the module's head."""

    def __init__(self, spec: LoadSplit) -> None:
        self._prefill_busy = spec.prefill_busy_threshold
        self._length = EffectiveLengthDecider(spec.threshold_tokens, spec.ratio_threshold, spec.decode_busy_threshold)
        self.uses_cache = spec.threshold_tokens > 0

    def remote(self, pair: Pair) -> bool:
        """See ``Decider``."""
        local = pair.prefill_load > self._prefill_busy or self._length.short(pair)
        return not local or self._length.decode_is_busy(pair)


def make_decider(spec: Disaggregation) -> Decider | None:
    """The decider that ``spec`` names; None: every prompt is computed by a prefill replica."""
    match spec:
        case AlwaysSplit():
            return None
        case PrefixSplit():
            return PrefixDecider(spec)
        case EffectiveLengthSplit():
            return EffectiveLengthDecider(spec.threshold_tokens, spec.ratio_threshold, spec.decode_busy_threshold)
        case LoadSplit():
            return LoadDecider(spec)
