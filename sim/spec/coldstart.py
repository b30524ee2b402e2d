"""How long a replica takes to come up, phase by phase, and when its bill starts and stops.

    requested -> provisioning -> image -> weights (bytes / bandwidth) -> engine start -> ready

Replicas that fit share a machine of ``gpu.price.instance_gpus`` GPUs: it is provisioned once, its image pulled once, its
storage shared, and its page cache serves the second load.

Every default is an assumption, with its range and source beside it; measure your own cluster and override.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConstantTime:
    """Always the same."""

    kind: Literal["constant"] = "constant"
    seconds: float = Field(ge=0)
    """How long it takes, always."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UniformTime:
    """Anything between two bounds, seconds."""

    kind: Literal["uniform"] = "uniform"
    low_s: float = Field(ge=0)
    """Shortest time."""
    high_s: float = Field(ge=0)
    """Longest time."""

    @model_validator(mode="after")
    def _check(self) -> UniformTime:
        if self.low_s > self.high_s:
            raise ValueError(f"`low_s <= high_s` must hold, but got {self.low_s} and {self.high_s}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LognormalTime:
    """Median and the spread of its logarithm: 0.5 puts the p95 at 2.3 medians."""

    kind: Literal["lognormal"] = "lognormal"
    median_s: float = Field(gt=0)
    """Half of them take longer."""
    sigma: float = Field(ge=0, le=5)
    """Standard deviation of the logarithm."""


Time = Annotated[ConstantTime | UniformTime | LognormalTime, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ColdStartSpec:
    """The phases of a start. Defaults are assumptions within measured ranges, most from llm-d's pod snapshots on GKE
    (Qwen3-32B, H100, vLLM 0.26); measure your own cluster."""

    provisioning: Time = Field(default_factory=lambda: LognormalTime(median_s=90.0, sigma=0.5))
    """Asking the cloud for a machine until its kernel runs; 30-300 s."""
    stockout_probability: float = Field(default=0.0, ge=0, lt=1)
    """Chance that an attempt finds no capacity ..."""
    stockout_retry_s: float = Field(default=60.0, ge=0.1)
    """... and the wait until the next, s."""
    image: Time = Field(default_factory=lambda: ConstantTime(seconds=70.0))
    """Pulling the container, once a machine; 2 s streamed, 70 s whole (9 GB)."""
    weights_gib_per_s: float = Field(default=0.5, gt=0)
    """A machine's storage into its GPUs' memory, GiB/s, shared by the replicas that load at once: 0.31 (gp3 SSD, default
    loader, A10G), 0.47 (object storage, H100), 1.05 (gp3, streaming loader), 2 (io2, streaming loader)."""
    page_cache_gib_per_s: float = Field(default=1.4, gt=0)
    """The second load of the same weights on a machine: host memory into one GPU, GiB/s, each GPU for itself (measured:
    Qwen3-32B, 61 GiB of safetensors into an H100 in 43.4 s). Never slower than from storage."""
    engine_start: Time = Field(default_factory=lambda: ConstantTime(seconds=146.0))
    """Imports, profiling, compilation, CUDA graphs: 80 s (vLLM 0.26, 8B, H100 machine, cold caches; torch.compile 27 s and
    graph capture 7 s of it) to 146 s (vLLM 0.26, 32B, H100 pod; imports 73 s of it)."""
    engine_restart: Time = Field(default_factory=lambda: ConstantTime(seconds=43.0))
    """Likewise where the same engine has run before on the machine, so that its caches are warm (measured with the 80 s
    above). Never longer than ``engine_start``."""
    wake: Time = Field(default_factory=lambda: ConstantTime(seconds=3.0))
    """From sleep level 1 (weights in host memory) to ready."""
    source: str = ""
    """Where the numbers are from; for display."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BillingSpec:
    """When a machine costs money. Defaults as clouds bill: from the running machine to its end, by the second, for 60 s at
    least."""

    starts: Literal["requested", "instance", "ready"] = "instance"
    """instance: when the machine runs, as clouds bill; ready: serverless; requested: a reservation."""
    increment_s: float = Field(default=1.0, ge=0)
    """The bill is rounded up to these (3600 = by the hour; 0 = exact)."""
    minimum_s: float = Field(default=60.0, ge=0)
    """Shortest bill of a machine that was started during the run."""
