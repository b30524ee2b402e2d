"""``Adapters``: LoRA adapters of one engine: who may run, what lies on the GPU and in host memory, and how long loads take.

* Distinct adapters among running requests, scheduled or not, are at most ``max_loras``; one more is set aside at admission
  and keeps its place, others may pass (vLLM 0.33, ``v1/core/sched/scheduler.py``). The base model counts for nothing.
* An adapter that is not in one of the ``max_loras`` slots is loaded in the step that first schedules a request of it, and
  the engine waits: from disk into host memory where it is not among the ``max_cpu_loras`` kept there, then into its slot.
  Both are LRUs by last use; what runs is in use at every step (``lora/worker_manager.py``, ``lora/lru_cache``). Nothing is
  fetched ahead.

Not modelled: unloading by request, pinned adapters, asynchronous loads (SGLang's ``enable_lora_overlap_loading``).
"""

from __future__ import annotations

from collections.abc import Hashable

from sim.engine.request import EngineRequest
from sim.perf.step_time import StepTimeModel


class Adapters:
    """The adapters of one engine.

    Args:
        max_loras: slots on the GPU.
        max_cpu_loras: adapters kept in host memory, at least ``max_loras``.
        disk_s: time to read one from disk, in the clock's unit.
        slot_s: time to copy one into its slot, likewise.
        time: how long a step takes that holds one.
    """

    def __init__(
        self, max_loras: int, max_cpu_loras: int, time: StepTimeModel, disk_s: float = 0.0, slot_s: float = 0.0
    ) -> None:
        self.max_loras = max_loras
        self.time = time
        self._max_cpu_loras = max_cpu_loras
        self._disk_s = disk_s
        self._slot_s = slot_s
        self.running: dict[Hashable, int] = {}
        """Adapter -> running requests of it."""
        self._slots: dict[Hashable, None] = {}
        """Adapters on the GPU, the least recently used first."""
        self._host: dict[Hashable, None] = {}
        """Likewise in host memory."""
        self._stall = 0.0
        self.served: set[Hashable] = set()
        """All that have run."""
        self.set_aside = False
        """Somebody was set aside when requests were last admitted: others may pass."""
        self.disk_loads = 0
        """Adapters read from disk, and copied into a slot, so far."""
        self.slot_loads = 0
        self.stalled = 0.0
        """Time that the engine has waited for them."""

    def admits(self, request: EngineRequest) -> bool:
        """Whether ``request`` may run beside those who do."""
        return not request.lora or request.lora in self.running or len(self.running) < self.max_loras

    def enter(self, request: EngineRequest) -> None:
        """``request`` runs from this step on."""
        adapter = request.lora
        if not adapter:
            return
        count = self.running.get(adapter, 0)
        self.running[adapter] = count + 1
        if count:
            return
        self.served.add(adapter)
        if adapter not in self._slots:
            if adapter not in self._host:
                self._make_room(self._host, self._max_cpu_loras)
                self.disk_loads += 1
                self._stall += self._disk_s
            self._make_room(self._slots, self.max_loras)
            self.slot_loads += 1
            self._stall += self._slot_s
        self._use(adapter)

    def leave(self, request: EngineRequest) -> None:
        """``request`` runs no more."""
        adapter = request.lora
        if not adapter:
            return
        count = self.running[adapter] - 1
        if count:
            self.running[adapter] = count
        else:
            del self.running[adapter]
            self._use(adapter)  # until now

    def step_time(self, plain: StepTimeModel) -> StepTimeModel:
        """How long steps take now; ``plain``: without adapters."""
        return self.time if self.running else plain

    def take_stall(self) -> float:
        """How long the step just composed waits for loads."""
        stall, self._stall = self._stall, 0.0
        self.stalled += stall
        return stall

    def _use(self, adapter: Hashable) -> None:
        for kept in (self._slots, self._host):
            kept.pop(adapter, None)
            kept[adapter] = None

    def _make_room(self, kept: dict[Hashable, None], capacity: int) -> None:
        if len(kept) >= capacity:
            del kept[next(adapter for adapter in kept if adapter not in self.running)]
