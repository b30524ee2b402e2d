"""What LoRA adapters cost an engine in time. How many there may be is said beside vLLM's other options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

Modules = Literal["all", "attention"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LoraSpec:
    """Load and overhead of adapters."""

    rank: int | None = Field(default=None, ge=1, le=512)
    """Rank of the adapters themselves, for the bytes that are loaded; null = ``engine.max_lora_rank``."""
    modules: Modules = "all"
    """Which matrices have adapters: all linear ones of a layer (vLLM lays out slots for these), or attention's alone."""
    step_overhead_per_rank: float = Field(default=0.005, ge=0, le=1)
    """Share by which a step with an adapter in it is longer outside attention, for each unit of ``engine.max_lora_rank``.
    0.5 % a unit: measured 4 % at rank 8 (vLLM pull request 11613), 8 to 24 % at unknown ranks (15655); ranks of 64 and more
    are an extrapolation."""
    disk_gib_per_s: float = Field(default=1.0, gt=0, le=1e12)
    """Reading an adapter that is not in host memory; the whole engine waits. An assumption: one SSD or a fast share."""
    host_gib_per_s: float = Field(default=20.0, gt=0, le=1e12)
    """Copying an adapter from host memory into its slot on each GPU. An assumption: pageable memory over PCIe 4."""
    load_s: float = Field(default=0.02, ge=0, le=600)
    """Added to each read from disk: opening files, building tensors. An assumption."""
