"""LoRA adapters: the gate, and slots and host memory as least-recently-used caches."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sim.engine.adapters import Adapters
from sim.engine.request import EngineRequest
from sim.perf.step_time import AffineStepTime
from sim.trust.conformance import Recording
from tests.conformance.random_cases import random_case

PLAIN, LONGER = AffineStepTime(1.0), AffineStepTime(2.0)


def request(lora: Any, number: int = 0) -> EngineRequest:
    found = EngineRequest(number, 10, 10)
    found.lora = lora
    return found


def test_the_gate_counts_distinct_adapters_among_those_who_run() -> None:
    adapters = Adapters(2, 2, LONGER)
    assert adapters.step_time(PLAIN) is PLAIN
    for lora in ("a", "b", "a", None):
        assert adapters.admits(request(lora))
        adapters.enter(request(lora))
    assert not adapters.admits(request("c")) and adapters.admits(request("b")) and adapters.admits(request(None))
    assert adapters.step_time(PLAIN) is LONGER
    adapters.leave(request("a"))
    assert not adapters.admits(request("c"))
    adapters.leave(request("a"))
    assert adapters.admits(request("c"))
    adapters.leave(request("b"))
    assert adapters.step_time(PLAIN) is PLAIN


def test_loads_stall_the_step_that_needs_them() -> None:
    adapters = Adapters(1, 2, LONGER, disk_s=5.0, slot_s=0.25)
    stalls = []
    for lora in ("a", "a", "b", "a", "c", "b", "a"):
        adapters.enter(request(lora))
        stalls.append(adapters.take_stall())
        adapters.leave(request(lora))
    assert stalls == [5.25, 0.0, 5.25, 0.25, 5.25, 5.25, 5.25]  # two are in host memory: a goes with c's load, then b ...
    assert (adapters.slot_loads, adapters.disk_loads, adapters.stalled) == (6, 5, sum(stalls))


class Lru:
    """The same by the book: every use touches."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.kept: OrderedDict[str, None] = OrderedDict()
        self.misses = 0

    def use(self, name: str) -> None:
        if name in self.kept:
            self.kept.move_to_end(name)
            return
        self.misses += 1
        if len(self.kept) >= self.capacity:
            self.kept.popitem(last=False)
        self.kept[name] = None


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.integers(1, 3), st.integers(0, 3))
def test_loads_are_the_misses_of_an_independent_lru(uses: list[str], slots: int, more: int) -> None:
    adapters, on_gpu, in_host = Adapters(slots, slots + more, LONGER), Lru(slots), Lru(slots + more)
    for name in uses:
        adapters.enter(request(name))
        adapters.leave(request(name))
        on_gpu.use(name)
        in_host.use(name)
    assert adapters.slot_loads == on_gpu.misses
    assert adapters.disk_loads == in_host.misses


def test_loads_in_an_engine_are_the_misses_of_its_steps() -> None:
    """Whoever has a token in a step uses its adapter in it, in the scheduler's order."""
    for seed in range(60):
        case = random_case(seed)
        case["engine"]["max_loras"] = 1 + seed % 3
        for number, row in enumerate(case["requests"]):
            row["lora"] = (number * 7 + seed) % 5
        recording = Recording(case)
        lora = {row["id"]: row["lora"] for row in case["requests"]}
        on_gpu = Lru(1 + seed % 3)
        for row in recording.run(2000):
            on = [lora[name] for name, _, _ in row["scheduled"] if lora[name]]
            assert len(row["loras"]) <= 1 + seed % 3
            running = dict.fromkeys([*on, *row["loras"]])  # who runs without a token keeps its slot
            for name in running:
                if name in on_gpu.kept:
                    on_gpu.use(name)
            for name in running:
                on_gpu.use(name)
        adapters = recording.scheduler.books.adapters
        assert adapters is not None and adapters.slot_loads == on_gpu.misses, seed
