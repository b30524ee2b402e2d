"""Options to set side by side: each is the scenario with other overrides."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DecideSpec:
    """What ``servecap decide`` compares, besides the APIs that sell the model by the token."""

    enabled: bool = False
    """Set the options side by side instead of one run; ``servecap decide`` and ``experiment=decide`` do."""
    options: dict[str, str] = Field(default_factory=dict)
    """Name -> overrides of the scenario, as on the command line. None stated = the scenario as it stands."""
    apis: bool | tuple[str, ...] = True
    """Also every API that sells the model, from the dated price table, and those that the gateway states; or only those of
    these names (the providers')."""
    show: Literal["table", "json"] = "table"
    """What the terminal shows; ``--json`` asks for the latter."""
    most_replicas: int = Field(default=256, ge=1, le=10_000)
    """Replicas up to which a break-even volume is sought; an assumption."""
    most_requests: int = Field(default=100_000, ge=1)
    """A load of more requests than this is not simulated for a break-even: the capacity curve stands in, and is said to.
    An assumption."""
