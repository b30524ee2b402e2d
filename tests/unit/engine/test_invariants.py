"""The run-time checks hold on random cases, and each one fires when its law is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sim.engine.scheduler import Scheduler
from sim.errors import InvariantError
from sim.trust.conformance import Recording
from tests.conformance.random_cases import random_case


def case_with(**engine: Any) -> dict[str, Any]:
    return {
        "engine": {"max_num_seqs": 4, "max_num_batched_tokens": 40, "num_gpu_blocks": 40, "block_size": 4, **engine},
        "step_time": {"base_ns": 1000, "per_new_token_ns": 1, "per_context_token_ns": 0, "per_seq_ns": 0},
        "requests": [
            {"id": f"r{i}", "arrival_ns": 100 * i, "prompt": [["a", 8], [f"u{i}", 20]], "output_len": 12} for i in range(8)
        ],
    }


def test_random_cases_break_no_law() -> None:
    preemptions = 0
    for seed in range(250):
        recording = Recording(random_case(seed), check_invariants=True)
        recording.run(1000)
        preemptions += recording.scheduler.books.preemptions
    assert preemptions > 100


def leak_a_block(scheduler: Scheduler) -> None:
    scheduler.pool.free -= 1


def jump_the_queue(scheduler: Scheduler) -> None:
    waiting = scheduler.books.waiting
    if waiting.size > 1:
        waiting.append(waiting.pop())


def forget_a_token(scheduler: Scheduler) -> None:
    for request in scheduler.books.running:
        if request.decoding:
            scheduler.books.decodes.hold_back(request)
            return


def miscount_the_cache(scheduler: Scheduler) -> None:
    for request in scheduler.books.running:
        request.cached_tokens = 3


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        pytest.param(leak_a_block, r"blocks (referenced|are free)", id="blocks"),
        pytest.param(jump_the_queue, "overtook", id="queue"),
        pytest.param(forget_a_token, "not from where it stands|is not|are not", id="position"),
        pytest.param(miscount_the_cache, r"was given .* cached 3", id="tokens"),
    ],
)
def test_a_broken_law_is_named(tamper: Callable[[Scheduler], None], message: str) -> None:
    recording = Recording(case_with(), check_invariants=True)
    scheduler = recording.scheduler
    admit = scheduler.admission.admit

    def tampered(*args: Any) -> None:
        if scheduler.books.composed >= 3:
            tamper(scheduler)
        admit(*args)

    scheduler.admission.admit = tampered  # type: ignore[method-assign]
    with pytest.raises(InvariantError, match=message) as caught:
        recording.run()
    assert "the case's engine at" in str(caught.value)
