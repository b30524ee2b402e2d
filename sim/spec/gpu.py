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
    """Of one GPU, rented by the hour."""
    spot_usd_per_hour: float | None = Field(default=None, ge=0)
    """Of one GPU that may be taken away (``spot`` says when)."""
    reserved_usd_per_hour: float | None = Field(default=None, ge=0)
    """Of one GPU reserved for long; None = on demand less ``cost.reserved_discount_fraction``."""
    instance_gpus: int = Field(default=1, ge=1)
    """GPUs that are sold together: a pool pays for whole instances, which its replicas share (``sim.cost.bill``)."""
    source: str = ""
    """Seller, product and how the price was read; for display."""
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
    """NVIDIA or AMD, as the datasheet says: AMD's profiling pass takes more memory for the sampler."""
    arch: str = ""
    """The vendor's name of the architecture (Ada, Hopper, Blackwell): it chooses the roofline's efficiencies, the largest
    CUDA graph and the sampler's memory. Empty or unknown = the general efficiencies."""
    memory_gib: float = Field(gt=0, le=1e6)
    """What the driver reports to a program, GiB (not the marketing size)."""
    bandwidth_gb_s: float = Field(gt=0)
    """Of the memory: the datasheet's peak."""
    tflops_bf16: float = Field(gt=0)
    """Peak of 16-bit matrix products, from the datasheet."""
    tflops_fp8: float = Field(default=0, ge=0)
    """0 = no hardware fp8: computes in bf16."""
    tflops_int8: float = Field(default=0, ge=0)
    """Likewise in int8 (TOP/s); 0 = no hardware int8: computes in bf16."""
    tflops_fp4: float = Field(default=0, ge=0)
    """Likewise in fp4; 0 = no hardware fp4: computes in bf16."""
    matrix_share: float | None = Field(default=None, gt=0, le=1)
    """Share of ``tflops_bf16`` that large products reach, measured; null = what was fitted on kernels of its generation,
    within the board's power."""
    matrix_share_8bit: float | None = Field(default=None, gt=0, le=1)
    """Likewise of ``tflops_fp8`` and ``tflops_int8``; null = ``matrix_share``."""
    link: Literal["nvlink", "pcie", "infinity_fabric"] = "pcie"
    """What joins the GPUs of a replica: pcie goes through the host; it also tells Blackwell cards with GDDR from those with
    HBM."""
    link_gb_s_per_direction: float = Field(gt=0)
    """Per GPU and direction, of the link that tensor parallelism uses: all its lanes together."""
    link_mesh: bool = False
    """Each pair of the ``max_scaleup_gpus`` GPUs has its own part of the link, no switch: n of them reach (n - 1) parts
    only. The default is a switch (NVSwitch)."""
    max_scaleup_gpus: int = Field(default=8, ge=1)
    """GPUs that the link joins: the largest tensor parallel size; 8 is a usual server's."""
    nic_gb_s_per_direction: float = Field(default=0, ge=0)
    """Network that each GPU has to other machines, per direction (400 Gbit/s = 50); 0 = unknown: nothing spans machines."""
    tdp_w: float = Field(default=0, ge=0)
    """Power limit of the board, from the datasheet: large products are slower where it binds, and what the GPU draws is a
    share of it (``energy``); 0 = neither."""
    price: GpuPrice = Field(default_factory=GpuPrice)
    """Dated prices of this GPU."""
    step_time_scale: dict[str, float] = Field(default_factory=dict, json_schema_extra={"legal": "each > 0"})
    """Multipliers that ``calibrate`` fits for one's own server: ``compute memory link host front_end`` (1.0 when absent),
    and ``launch``, of the part of ``host`` that starts kernels."""
    calibrated_on: str = ""
    """Model, weight type, tensor parallel size and engine that ``calibrate`` fitted the multipliers on; for display: with
    another model they carry what they say of GPU, CPU and front end."""
    source: str = ""
    """Where the numbers are from; for display."""
