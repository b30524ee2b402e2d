"""Routers: which replica gets a request. The policies themselves are in ``sim.gateway.routers``.

``staleness_s`` is the period at which a gateway scrapes its replicas' metrics: decisions between two scrapes see the
same old numbers. 0 = the gateway's own counters, which are exact at every moment.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.gateway.scraping import ScrapePeriod
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RoundRobin:
    """Replicas in turn."""

    kind: Literal["round_robin"] = "round_robin"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RandomRouter:
    """Any replica with equal chance."""

    kind: Literal["random"] = "random"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PowerOfTwo:
    """The less loaded of ``choices`` replicas drawn at random (Envoy's LEAST_REQUEST, whose choice_count is 2)."""

    kind: Literal["power_of_two"] = "power_of_two"
    choices: int = Field(default=2, ge=2, le=1000)
    """Replicas drawn, with replacement (Envoy's ``choice_count``)."""
    signal: Literal["requests", "tokens"] = "requests"
    """Load: unfinished requests, or their prompt tokens."""
    staleness_s: ScrapePeriod = 0.0
    """Period of scraping, seconds; 0 = the gateway's own counters."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LeastRequests:
    """The replica with the fewest unfinished requests."""

    kind: Literal["least_requests"] = "least_requests"
    staleness_s: ScrapePeriod = 0.0
    """Period of scraping, seconds; 0 = the gateway's own counters."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LeastTokensInFlight:
    """The replica with the fewest prompt tokens of unfinished requests sent to it by this gateway."""

    kind: Literal["least_tokens_in_flight"] = "least_tokens_in_flight"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LeastKv:
    """The replica with the smallest share of KV blocks in use."""

    kind: Literal["least_kv"] = "least_kv"
    staleness_s: ScrapePeriod = 0.2
    """Period of scraping, seconds; 0 = read when asked for. The default is the extension's 200 ms."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeightedScore:
    """The highest sum of weights x scores in [0, 1], as llm-d's scorers: 1 = the shortest queue among the replicas (0 the
    longest), an empty KV cache, the whole prompt cached. Default weights are those of llm-d's example."""

    kind: Literal["weighted_score"] = "weighted_score"
    queue_weight: float = Field(default=2.0, ge=0)
    """Weight of the shortest queue (``queue-scorer``)."""
    kv_weight: float = Field(default=2.0, ge=0)
    """Weight of an empty KV cache (``kv-cache-utilization-scorer``)."""
    prefix_weight: float = Field(default=3.0, ge=0)
    """Weight of the prompt's cached part (``prefix-cache-scorer``)."""
    lora_weight: float = Field(default=1.0, ge=0)
    """Weight of an adapter that runs there (1) or finds a free slot (0.8), for requests that ask for one
    (``lora-affinity-scorer``)."""
    block_tokens: int = Field(default=16, ge=1)
    """Tokens of a block of prompt that is matched; 16 is the scorer's default, and what vLLM tells it."""
    max_prefix_blocks: int = Field(default=256, ge=1)
    """Blocks of a prompt that are looked at (``maxPrefixBlocksToMatch``)."""
    lru_blocks_per_replica: int | None = Field(default=None, ge=1)
    """Blocks remembered of each replica; null = as many as its KV cache has (``autoTune``)."""
    staleness_s: ScrapePeriod = 0.2
    """Period of scraping, seconds (the extension's 200 ms)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SessionAffinity:
    """A session stays on the replica of its first turn (consistent hashing, so that few move when replicas change)."""

    kind: Literal["session_affinity"] = "session_affinity"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdapterAffinity:
    """A LoRA adapter keeps to the first replicas of an order of its own, as many as its load takes (consistent hashing with
    bounded loads); requests for the base model go where fewest are."""

    kind: Literal["adapter_affinity"] = "adapter_affinity"
    balance: float = Field(default=1.25, ge=1, le=100)
    """A replica with more than so many times the mean of unfinished requests is passed over; 1.25 is the usual choice
    (HAProxy's ``hash-balance-factor`` of 125)."""


Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StaticWeights:
    """Smooth weighted round robin (nginx): among the pools that can take the request by ``pools``, then among the replicas
    of that pool by ``replicas``. A canary, a cheaper region first, a mixed fleet by what its GPUs can do."""

    kind: Literal["static_weights"] = "static_weights"
    pools: dict[str, Weight] = Field(default_factory=dict)
    """Pool -> weight; 1 for those it does not name."""
    replicas: dict[str, Weight] = Field(default_factory=dict)
    """Replica (``main-0``) -> weight within its pool; 1 for those it does not name."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SglangCacheAware:
    """SGLang's cache-aware router: to the replica that saw the longest matching prefix when it covers more than
    ``cache_threshold`` of the prompt, else to the one that has cached least; shortest queue while the load is unbalanced,
    (max - min) > ``balance_abs_threshold`` and max > ``balance_rel_threshold`` x min unfinished requests."""

    kind: Literal["sglang_cache_aware"] = "sglang_cache_aware"
    cache_threshold: float = Field(default=0.3, ge=0, le=1)
    """Share of the prompt that must match (``--cache-threshold``)."""
    balance_abs_threshold: int = Field(default=64, ge=0)
    """Requests between the busiest and the idlest (``--balance-abs-threshold``)."""
    balance_rel_threshold: float = Field(default=1.5, ge=1)
    """Ratio of the busiest to the idlest (``--balance-rel-threshold``)."""
    block_tokens: int = Field(default=16, ge=1)
    """Grain of what is remembered, tokens; SGLang's is a character."""
    max_tree_blocks: int = Field(default=4_194_304, ge=1)
    """Blocks that the router remembers a replica (SGLang's max_tree_size is 2^26 characters; 16 a block)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PluginRouter:
    """A router from an installed distribution: entry point ``name`` of the group ``servecap.routers``."""

    kind: Literal["plugin"] = "plugin"
    name: str
    """Entry point of the router, as its distribution declares it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What it is made with."""


Router = Annotated[
    RoundRobin | RandomRouter | PowerOfTwo | LeastRequests | LeastTokensInFlight | LeastKv | WeightedScore
    | SessionAffinity | AdapterAffinity | SglangCacheAware | StaticWeights | PluginRouter,
    Field(discriminator="kind"),
]  # fmt: skip
