"""KV that an engine takes from, or gives to, somebody else (vLLM's ``--kv-transfer-config``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


def _as_role(value: object) -> object:
    return value[3:] if isinstance(value, str) and value.startswith("kv_") else value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvConnectorSpec:
    """Role of an engine in the exchange of KV, and what follows from a load that fails."""

    role: Annotated[Literal["none", "consumer", "producer", "both"], BeforeValidator(_as_role)] = "none"
    """consumer: loads KV that another engine computed; producer: keeps blocks for others; vLLM's kv_consumer,
    kv_producer and kv_both are read. none = no exchange."""
    load_failure_policy: Literal["fail", "recompute"] = "fail"
    """A load that fails ends its request with an error (vLLM's default), or the engine computes the rest itself."""
    lease_s: float = Field(default=30.0, gt=0)
    """How long a producer keeps the blocks of a finished request that nobody fetches, seconds (vLLM's NIXL connector:
    ``kv_lease_duration`` 30, renewed by heartbeats)."""
    heartbeats: bool = True
    """Whoever is to fetch blocks renews their lease six times within ``lease_s`` while the request waits there (vLLM's NIXL
    connector does); false = a lease is never renewed."""
