"""What a GPU is: memory, bandwidth, arithmetic, links, and its dated prices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

Market = Literal["on_demand", "spot", "reserved"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GpuPrice:
    """US dollars per GPU-hour by market, with the row's source and date. None = not known."""

    on_demand_usd_per_hour: float | None = Field(default=None, ge=0)
    spot_usd_per_hour: float | None = Field(default=None, ge=0)
    reserved_usd_per_hour: float | None = Field(default=None, ge=0)
    instance_gpus: int = Field(default=1, ge=1)
    """GPUs that are sold together: a pool pays for whole instances, which its replicas share (``sim.cost.bill``)."""
    source: str = ""
    date: str = ""
    """ISO date on which the price was read."""

    @property
    def known(self) -> bool:
        """Whether any market has a price."""
        prices = self.on_demand_usd_per_hour, self.spot_usd_per_hour, self.reserved_usd_per_hour
        return any(usd is not None for usd in prices)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GpuSpec:
    """One GPU type. FLOPS are dense (no 2:4 sparsity), bandwidths are decimal GB/s, peaks from the datasheet."""

    name: str
    """Preset name, e.g. ``l40s``; step-time tables are found by it."""
    vendor: str = "NVIDIA"
    arch: str = ""
    memory_gib: float = Field(gt=0, le=1e6)
    """What the driver reports to a program, GiB (not the marketing size)."""
    bandwidth_gb_s: float = Field(gt=0)
    tflops_bf16: float = Field(gt=0)
    tflops_fp8: float = Field(default=0, ge=0)
    """0 = no hardware fp8: computes in bf16."""
    tflops_int8: float = Field(default=0, ge=0)
    tflops_fp4: float = Field(default=0, ge=0)
    link: Literal["nvlink", "pcie", "infinity_fabric"] = "pcie"
    link_gb_s_per_direction: float = Field(gt=0)
    """Per GPU and direction, of the link that tensor parallelism uses."""
    max_scaleup_gpus: int = Field(default=8, ge=1)
    tdp_w: float = Field(default=0, ge=0)
    price: GpuPrice = Field(default_factory=GpuPrice)
    step_time_scale: dict[str, float] = Field(default_factory=dict)
    """Multipliers that ``calibrate`` fits for one's own server: ``compute memory host front_end`` (1.0 when absent)."""
    source: str = ""
