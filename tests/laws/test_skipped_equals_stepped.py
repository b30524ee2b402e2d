"""Skipping decode changes nothing: the law that the engine's speed rests on.

Random small workloads run twice through the same engine, once stepping every token and once skipping. In integer
nanoseconds every time, cache hit, preemption and the order of events must be equal, ties included.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sim.engine.clock import ARRIVAL
from sim.trust.conformance import Recording

engines = st.fixed_dictionaries(
    {
        "max_num_seqs": st.integers(1, 12),
        "max_num_batched_tokens": st.sampled_from([16, 40, 100, 400]),
        "block_size": st.sampled_from([1, 3, 4, 16]),
        "num_gpu_blocks": st.sampled_from([40, 60, 100, 400]),
        "max_model_len": st.sampled_from([60, 120, 400]),
        "enable_prefix_caching": st.booleans(),
        "long_prefill_token_threshold": st.sampled_from([0, 0, 7, 20]),
        "long_prefill_token_threshold_adaptive": st.booleans(),
        "policy": st.sampled_from(["fcfs", "priority"]),
        "watermark": st.sampled_from([0.0, 0.1]),
        "scheduler_reserve_full_isl": st.booleans(),
        "async_scheduling": st.booleans(),
        "prefill_schedule_interval": st.sampled_from([1, 1, 3]),
        "max_num_scheduled_tokens": st.sampled_from([None, None, 12]),
        "max_loras": st.sampled_from([None, None, 1, 2]),
    }
)
request_rows = st.lists(
    st.tuples(
        st.integers(0, 60),  # arrival, in units of 500 ns: ties with steps and with each other are common
        st.sampled_from(["", "a", "b"]),  # shared leading segment
        st.integers(1, 40),
        st.integers(1, 60),
        st.integers(0, 2),
        st.integers(0, 3),  # adapter, 0 = the base model
    ),
    min_size=1,
    max_size=14,
)


def case_of(engine: dict[str, Any], rows: list[tuple[int, str, int, int, int, int]]) -> dict[str, Any]:
    engine = dict(engine)
    engine["max_num_batched_tokens"] = max(engine["max_num_batched_tokens"], engine["max_num_seqs"])
    usable = (engine["num_gpu_blocks"] - 1) * engine["block_size"]
    requests = []
    for number, (arrival, shared, length, output, priority, lora) in enumerate(rows):
        prompt = [[shared, 24]] if shared else []
        prompt.append([f"u{number}", length])
        if sum(tokens for _, tokens in prompt) + output > usable:
            continue  # can never fit: refused at the door in simulations
        requests.append(
            {
                "id": f"r{number:04d}",
                "arrival_ns": arrival * 500,
                "prompt": prompt,
                "output_len": output,
                "priority": priority,
                "lora": lora if engine["max_loras"] else 0,
            }
        )
    requests.sort(key=lambda request: request["arrival_ns"])
    step_time = {"base_ns": 1000, "per_new_token_ns": 50, "per_context_token_ns": 1, "per_seq_ns": 25}
    return {"engine": engine, "step_time": step_time, "requests": requests}


def outcome(case: dict[str, Any], skip: bool, abort_at: int | None) -> tuple[Any, ...]:
    recording = Recording(case, skip_decode=skip)
    order: list[str] = []
    finished = recording.finished
    requests = recording.submitted

    def note(request: Any) -> None:
        order.append(request.request_id)
        finished(request)

    recording.finished = note  # type: ignore[method-assign]
    views = []
    recording.clock.at(7777, ARRIVAL, lambda _: views.append(recording.replica.view()))
    if abort_at is not None:
        recording.clock.at(abort_at, ARRIVAL, lambda _: requests and recording.replica.abort(requests[0]))
    recording.run()
    assert not recording.stalled
    scheduler = recording.scheduler
    assert scheduler.pool.free == scheduler.pool.usable
    return (
        order,
        views,
        recording.replica.work.steps,
        recording.replica.work.busy,
        scheduler.books.preemptions,
        [
            (r.request_id, r.first_token_at, r.finished_at, r.cached_tokens, r.preemptions, r.recomputed, r.sampled)
            for r in requests
        ],
    )


@given(engines, request_rows, st.one_of(st.none(), st.integers(0, 60_000)))
def test_skipped_equals_stepped(engine: dict[str, Any], rows: list[Any], abort_at: int | None) -> None:
    case = case_of(engine, rows)
    assert outcome(case, True, abort_at) == outcome(case, False, abort_at)
