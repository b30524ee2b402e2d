"""How engines of prefill and decode replicas see ``KvWires``: as their source of KV."""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.kv_source import KvSource, Offer
from sim.engine.request import EngineRequest
from sim.gateway.kv_wires import KvWires


class HandoffSource(KvSource):
    """The source of KV of every such engine."""

    def __init__(self, wires: KvWires) -> None:
        self._wires = wires
        self.watches = wires.by_chunks

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """See ``KvSource``."""
        return self._wires.held(request, local_tokens)

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """See ``KvSource``."""
        return self._wires.load(request, local_tokens, tokens)

    def keeps(self, request: EngineRequest) -> bool:
        """See ``KvSource``."""
        return self._wires.keeps(request)

    def computes(self, batch: Batch) -> None:
        """See ``KvSource``."""
        self._wires.computes(batch)
