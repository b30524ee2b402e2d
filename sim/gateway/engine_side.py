"""How engines of prefill and decode replicas see ``KvWires``: as their source of KV, and as who watches prefill chunks."""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.kv_source import KvSource, Offer
from sim.engine.listener import StepListener
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.gateway.kv_wires import KvWires
from sim.gateway.request import Handoff


class HandoffSource(KvSource):
    """The source of KV of every such engine."""

    def __init__(self, wires: KvWires) -> None:
        self._wires = wires

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """See ``KvSource``."""
        return self._wires.held(request, local_tokens)

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """See ``KvSource``."""
        return self._wires.load(request, local_tokens, tokens)

    def keeps(self, request: EngineRequest) -> bool:
        """See ``KvSource``."""
        return self._wires.keeps(request)


class Chunks(StepListener):
    """Watches the prefill chunks of engines for ``wires``, and tells ``others`` of every step."""

    def __init__(self, wires: KvWires, others: StepListener | None) -> None:
        self._wires = wires
        self._others = others

    def closed(self, name: str, step: int, scheduler: Scheduler, batch: Batch) -> None:
        """See ``StepListener``."""
        for request, n, before in batch.prefills:
            if isinstance(request.owner, Handoff):
                self._wires.computes(request.owner, before + n, batch.start, batch.start + batch.first)
        if self._others is not None:
            self._others.closed(name, step, scheduler, batch)

    def returned(self, batch: Batch) -> None:
        """See ``StepListener``."""
        for request, n, before in batch.prefills:
            if isinstance(request.owner, Handoff):
                self._wires.computed(request.owner, before + n)
        if self._others is not None:
            self._others.returned(batch)
