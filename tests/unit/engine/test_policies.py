"""Other engines' decisions on cases small enough to be computed by hand: every step takes one second."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.listener import EngineListener
from sim.engine.policies import PolicyScheduler, make_scheduler
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.perf.step_time import AffineStepTime
from sim.spec import EngineSpec
from tests.presets import CONFIGS


class Answered(EngineListener):
    """By name."""

    def __init__(self) -> None:
        self.requests: dict[str, EngineRequest] = {}

    def finished(self, request: EngineRequest) -> None:
        self.requests[request.request_id] = request


def played(
    requests: list[tuple[float, int, int]], blocks: int = 101, **options: Any
) -> tuple[dict[str, EngineRequest], Scheduler]:
    """Requests ``(arrival, prompt, output)`` named a, b, ... after an engine of ``blocks - 1`` blocks of 1 token."""
    base: dict[str, Any] = {
        "block_size": 1, "max_num_seqs": 8, "max_num_batched_tokens": 10, "max_model_len": 1000,
        "enable_prefix_caching": False, "async_scheduling": False,
    }  # fmt: skip
    clock = Clock()
    scheduler = make_scheduler(EngineSpec(**{**base, **options}), blocks, "engine", lambda: clock.now)
    replica = Replica(clock, scheduler, AffineStepTime(1.0), False, answered := Answered())

    def arrive(moment: Moment) -> None:
        replica.submit(moment.value)

    for name, (arrival, prompt, output) in zip("abcdef", requests, strict=False):
        clock.at(arrival, ARRIVAL, arrive, EngineRequest(name, prompt, output, arrival))
    clock.run()
    done = answered.requests
    assert len(done) == len(requests)
    assert scheduler.pool.free == scheduler.pool.usable
    return done, scheduler


def finish(done: dict[str, EngineRequest]) -> dict[str, float]:
    return {name: request.finished_at for name, request in sorted(done.items())}  # type: ignore[misc]


def test_vllm_takes_no_detour() -> None:
    spec = EngineSpec(max_num_seqs=1, max_num_batched_tokens=8, max_model_len=8)
    assert type(make_scheduler(spec, 9, "", float)) is Scheduler


def test_prefill_first_pauses_decodes() -> None:
    """b's 20 tokens take two steps; a decodes meanwhile under vLLM (1 token a step), and pauses under prefill_first."""
    requests = [(0.0, 5, 5), (1.0, 20, 1)]
    plain, _ = played(requests)
    assert finish(plain) == {"a": 5.0, "b": 4.0}  # b gets 9 + 9 + 2 beside a
    paused, _ = played(requests, batch_order="prefill_first")
    assert finish(paused) == {"a": 7.0, "b": 3.0}


def test_full_output_is_reserved_and_nothing_is_preempted() -> None:
    """12 blocks; a and b need 3 + 5 - 1 = 7 each at the end: together too many, one after the other with the reserve."""
    requests = [(0.0, 3, 5), (0.0, 3, 5)]
    plain, scheduler = played(requests, blocks=13)
    assert scheduler.books.preemptions == 1
    reserved, scheduler = played(requests, blocks=13, admission_reserve="max_output")
    assert scheduler.books.preemptions == 0
    assert finish(reserved) == {"a": 5.0, "b": 10.0}
    assert plain["b"].finished_at is not None and plain["b"].finished_at < 10.0


def test_the_forecast_counts_a_share_of_what_is_left() -> None:
    """b asks for 10 + 10 + 1; a has 10 tokens of KV and 50 - 1 to come, of which 70 % are expected: 35 of its 49 or so."""
    requests = [(0.0, 10, 50), (1.0, 10, 10)]
    admitted, _ = played(requests, blocks=101, admission_reserve="forecast")
    assert admitted["b"].scheduled_at == 1.0
    # 66 usable: 56 free, wanted 10 + 10 + 0.7 x 50 + 1 = 56, and a takes one block for its decode first.
    held, _ = played(requests, blocks=66, admission_reserve="forecast")
    assert held["b"].scheduled_at is not None and held["b"].scheduled_at > 1.0
    bold, _ = played(requests, blocks=66, admission_reserve="forecast", schedule_conservativeness=0.0)
    assert bold["b"].scheduled_at == 1.0


def test_the_least_output_is_retracted_first() -> None:
    """11 blocks. a (1 + 8) starts first, b (2 + 4) and c (1 + 4) two steps later. In step 5 a wants its sixth block beside
    b's fourth and c's third: 13. c and b have generated alike, and b's prompt is longer: b goes. vLLM takes c."""
    requests = [(0.0, 1, 8), (2.0, 2, 4), (2.0, 1, 4)]
    plain, _ = played(requests, blocks=12)
    assert {name for name, r in plain.items() if r.preemptions} == {"c"}
    fewest, _ = played(requests, blocks=12, victim="fewest_generated")
    assert {name for name, r in fewest.items() if r.preemptions} == {"b"}


def test_tgi_lets_decodes_run_before_it_prefills() -> None:
    """Four run; one waits, fewer than 0.3 x 4: it enters after 3 decode steps. Two waiting enter at once."""
    four = [(0.0, 1, 20)] * 4
    options = {"batch_order": "prefill_first", "waiting_served_ratio": 0.3, "max_waiting_tokens": 3}
    one, _ = played([*four, (1.0, 1, 1)], **options)
    assert one["e"].scheduled_at == 4.0
    two, _ = played([*four, (1.0, 1, 1), (1.0, 1, 1)], **options)
    assert two["e"].scheduled_at == 1.0


@pytest.mark.parametrize("name", ["sglang", "tensorrt_llm", "tgi"])
@pytest.mark.parametrize("async_scheduling", [False, True])
def test_presets_serve_everything_under_pressure(name: str, async_scheduling: bool) -> None:
    preset = yaml.safe_load((CONFIGS / "engine" / f"{name}.yaml").read_text())
    assert preset.pop("defaults") == ["vllm", "_self_"]
    size = min(4, preset.get("block_size", 16))
    preset |= {"max_model_len": 400, "max_num_seqs": 6, "max_num_batched_tokens": 64, "block_size": size}
    preset |= {"async_scheduling": async_scheduling}
    requests = [(0.3 * i, 5 + 13 * i % 60, 10 + 7 * i % 40) for i in range(6)]
    done, scheduler = played(requests, blocks=1 + 160 // size, **preset)
    assert isinstance(scheduler, PolicyScheduler)
    stepped, _ = played(requests, blocks=1 + 160 // size, **preset, skip_decode=False)
    assert finish(done) == pytest.approx(finish(stepped), abs=1e-9)
    if name != "sglang":
        assert scheduler.books.preemptions == 0
