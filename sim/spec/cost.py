"""What things cost besides the GPUs' hourly price, as stated assumptions."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CostSpec:
    """Assumptions of the bill. Defaults add nothing: the number is compute only until one says otherwise."""

    overhead_fraction: float = Field(default=0.0, ge=0)
    """Software, storage, operations and safety as a share of compute; 0.2-0.4 is usual."""
    market: str | None = None
    """Overrides the market of every pool: on_demand, spot or reserved."""
    source: str = ""
