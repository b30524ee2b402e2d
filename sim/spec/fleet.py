"""The fleet: pools of identical replicas, how they come up, scale, fail and are billed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.autoscaler import Autoscaler
from sim.spec.coldstart import BillingSpec, ColdStartSpec
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec, Market
from sim.spec.kv_offload import KvStoreSpec
from sim.spec.kv_transfer import KvTransferSpec
from sim.spec.model import ModelSpec
from sim.spec.spot import SpotSpec
from sim.spec.strict import STRICT

Replicas = Annotated[int, Field(ge=0, le=10_000)]
"""More is no fleet of anybody's, and would not end."""

Role = Literal["both", "prefill", "decode"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FailureSpec:
    """Hardware faults, independent of each other. None = never."""

    gpu_mtbf_h: float | None = Field(default=None, ge=0.001)
    """Mean time between faults of one GPU, h; a replica of n GPUs dies whole, n times as often. 10,000-50,000 h is
    reported for large H100 clusters."""
    link_mtbf_h: float | None = Field(default=None, ge=0.001)
    """Mean time between link flaps of a replica with more than one GPU, h; it restarts on the same machine."""
    zone_mtbf_h: float | None = Field(default=None, ge=0.001)
    """Mean time between outages of one zone, h; all its machines die, whatever their market. None = never."""
    zone_outage_s: float = Field(default=3600.0, ge=1)
    """How long a zone is out, s; the default is an assumption (outages of a cloud zone last one to several
    hours)."""
    detect_s: float = Field(default=30.0, ge=0)
    """From a death that nobody announced until it is known, s (a liveness probe's 3 x 10 s): meanwhile the gateway sends to
    the dead replica, whose requests fail at once, no replacement is asked for, and the machine is billed, unless the market
    took it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackgroundSpec:
    """Batch work that fills idle capacity: it enters replicas with few interactive requests, and yields to them."""

    tasks: int = Field(ge=1)
    """How many there are."""
    input_tokens: int = Field(ge=1)
    """Prompt tokens of each."""
    output_tokens: int = Field(ge=1)
    """Answer tokens of each."""
    release_s: float = Field(default=0.0, ge=0)
    """They may begin from then on, s."""
    deadline_s: float | None = Field(default=None, gt=0)
    """What is not finished by then, s, is dropped, and said so."""
    max_running: int = Field(default=32, ge=1)
    """Tasks at once in one replica; an assumption."""
    max_interactive: int = Field(default=8, ge=0)
    """Tasks enter a replica with at most so many interactive requests in flight; an assumption."""
    yield_by: Literal["abort", "finish"] = "abort"
    """abort: running tasks leave (and start over later) when a replica has more; finish: they only stop entering."""
    check_s: float = Field(default=2.0, ge=0.1)
    """How often idle capacity is looked for, s; an assumption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoolSpec:
    """Identical replicas. What is None is taken from the scenario's own ``model``, ``gpu``, ``engine``, and from the
    fleet's ``autoscaler`` and ``spot``."""

    role: Role = "both"
    """prefill: its replicas compute prompts and hand their KV cache over; decode: they take it and answer
    (``gateway.disaggregation`` says for which requests); both: whole requests (vLLM's default)."""
    replicas: Replicas = 1
    """At the start, all ready."""
    min_replicas: Replicas = 1
    """An autoscaler keeps at least so many; 0 = scale to zero."""
    max_replicas: Replicas = 64
    """The quota: an autoscaler gets no more, headroom among them; an assumption. It binds no pool that nobody scales."""
    headroom_replicas: Replicas = 0
    """Replicas beside ``replicas``, and beside what an autoscaler or ``pool_size`` asks for (N+1)."""
    warm_replicas: Replicas = 0
    """Asleep beside the ready ones, paid for, and soon awake."""
    model: ModelSpec | None = None
    """None: the scenario's. On the command line also a preset's name, as for the next two, ``autoscaler`` and ``spot``."""
    gpu: GpuSpec | None = None
    """What its replicas stand on; None: the scenario's."""
    engine: EngineSpec | None = None
    """What its replicas run; None: the scenario's."""
    market: Market = "on_demand"
    """Where its machines are bought: on_demand, spot or reserved."""
    zone: str = "zone_a"
    """Where its machines stand, if ``zones`` is empty."""
    zones: tuple[str, ...] = ()
    """Replicas are spread over these; empty = ``zone`` alone."""
    autoscaler: Autoscaler | None = None
    """What changes its size; None: the scenario's."""
    spot: SpotSpec | None = None
    """What happens to it on the spot market; None: the scenario's."""

    @model_validator(mode="after")
    def _check(self) -> PoolSpec:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"`min_replicas <= max_replicas` must hold, but got {self.min_replicas} and {self.max_replicas}"
            )
        return self

    def begins_with(self, *, scaled: bool) -> int:
        """Servers at the start: all that are stated; where an autoscaler scales it, headroom only below the quota."""
        begins = self.replicas + self.headroom_replicas
        return max(self.replicas, min(begins, self.max_replicas)) if scaled else begins

    def within_limits(self, size: int, *, scaled: bool) -> int:
        """The size that it gets where ``size`` is asked for; the limits are an autoscaler's."""
        return max(self.min_replicas, min(size, self.max_replicas)) if scaled else size


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FleetSpec:
    """``replicas`` of the scenario's own model, GPU and engine, or named ``pools`` for a mixed fleet; and what all pools
    share."""

    replicas: Replicas = 1
    """Used when ``pools`` is empty: one pool named ``main``, with the fields below of the same name as a pool's."""
    market: Market = "on_demand"
    """Where the machines of the plain fleet are bought, as a pool's."""
    min_replicas: Replicas = 1
    """An autoscaler of the plain fleet keeps at least so many, as a pool's."""
    max_replicas: Replicas = 64
    """The plain fleet's quota for an autoscaler, as a pool's; an assumption."""
    headroom_replicas: Replicas = 0
    """Replicas beside what is asked for (N+1), as a pool's."""
    warm_replicas: Replicas = 0
    """Replicas asleep beside the ready ones, as a pool's."""
    zones: tuple[str, ...] = ()
    """Replicas of the plain fleet are spread over these, as a pool's; empty = zone_a."""
    pools: dict[str, PoolSpec] = Field(default_factory=dict)
    """Name -> pool, for a mixed fleet."""
    cells: int = Field(default=1, ge=1, le=10_000)
    """The fleet stands in so many cells that share nothing: each has a gateway of its own with all its policies, an even
    share of every pool's replicas, and the requests that ``cells_by`` gives it; the default is one fleet. Large deployments
    are built so, to bound what a failure takes (a cell of AWS's cell-based architecture). Limits, budgets, caches and queues
    of the gateway are each cell's own, as they are stated."""
    cells_by: Literal["session", "tenant", "route", "feature"] = "session"
    """What is hashed to a cell: the session (a request without one alone), or a label of the trace, all of whose requests
    then share a cell (a zone or a region is such a label); the default spreads evenly, servecap's own choice."""
    gpu_budget: int | None = Field(default=None, ge=1)
    """GPUs that all pools together may hold, at the start and later; None = any number."""
    cold_start: ColdStartSpec = Field(default_factory=ColdStartSpec)
    """How replicas come up."""
    billing: BillingSpec = Field(default_factory=BillingSpec)
    """When machines cost money."""
    failures: FailureSpec = Field(default_factory=FailureSpec)
    """What breaks."""
    kv_transfer: KvTransferSpec = Field(default_factory=KvTransferSpec)
    """How KV caches get from prefill to decode replicas, and to and from ``kv_store``."""
    kv_store: KvStoreSpec = Field(default_factory=KvStoreSpec)
    """A store of KV behind the host memory of all replicas that have some."""
    drain_timeout_s: float = Field(default=300.0, ge=0)
    """A replica that is told to stop finishes what it has for so long, s; then the rest is evicted (an assumption;
    Kubernetes' terminationGracePeriodSeconds is 30 by default, too short for long answers)."""
    background: BackgroundSpec | None = None
    """Batch work in idle capacity; None = none."""

    @model_validator(mode="after")
    def _check(self) -> FleetSpec:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"`min_replicas <= max_replicas` must hold, but got {self.min_replicas} and {self.max_replicas}"
            )
        return self

    def pools_of_role(self, role: Role) -> tuple[str, ...]:
        """Names of the pools with ``role``."""
        return tuple(name for name, pool in self.all_pools().items() if pool.role == role)

    def all_pools(self) -> dict[str, PoolSpec]:
        """The pools by name; a plain fleet is the single pool ``main``."""
        return dict(self.pools) or {
            "main": PoolSpec(
                replicas=self.replicas, market=self.market, min_replicas=self.min_replicas,
                max_replicas=self.max_replicas, headroom_replicas=self.headroom_replicas,
                warm_replicas=self.warm_replicas, zones=self.zones,
            )
        }  # fmt: skip
