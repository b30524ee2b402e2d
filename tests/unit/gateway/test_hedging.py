"""Hedges: the first token decides, every token is in the books, whatever the number of hedges and retries.

Sources: gRPC proposal A6, "Hedging Policy" (the next one a delay after the last, distinct backends, the rest cancelled)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.laws import violations
from sim.record import Result
from sim.workload import Trace
from tests.laws.test_gateway import run


def equal_requests(n: int = 30, gap_s: float = 0.0, output: int = 100) -> Trace:
    return Trace(np.arange(n) * gap_s, np.full(n, 500), np.full(n, output))


@given(
    delay_s=st.sampled_from([0.001, 0.02, 0.1, 0.5]), hedges=st.integers(1, 6), replicas=st.integers(1, 6),
    attempts=st.integers(1, 3), timeout_s=st.sampled_from([None, 0.3, 2.0]), covers=st.sampled_from(["attempt", "call"]),
    abort=st.booleans(), gap_s=st.sampled_from([0.0, 0.05]), limit=st.sampled_from([None, 1]),
)  # fmt: skip
@settings(max_examples=25)
def test_tokens_and_attempts_add_up_with_any_number_of_hedges_and_retries(
    delay_s: float, hedges: int, replicas: int, attempts: int, timeout_s: float | None, covers: str, abort: bool,
    gap_s: float, limit: int | None,
) -> None:  # fmt: skip
    """Equal requests at equal replicas answer at the same moments: the ties that lost tokens."""
    gateway: dict[str, Any] = {
        "router": {"kind": "round_robin"}, "hedging": {"delay_s": delay_s, "max_hedges": hedges},
        "retries": {"kind": "backoff", "max_attempts": attempts, "base_s": 0.01}, "client_timeout_s": timeout_s,
        "client_timeout_covers": covers, "abort_on_disconnect": abort, "max_queue_requests": limit,
    }  # fmt: skip
    result = run(gateway, equal_requests(gap_s=gap_s), replicas=replicas)
    assert violations(result) == []
    assert (result.requests["attempts"] <= attempts * (1 + hedges)).all()
    if timeout_s is not None and covers == "call":
        assert (result.requests["finish_s"] - result.requests["arrival_s"] <= timeout_s + 1e-9).all()


def one_slow_replica(**gateway: Any) -> Result:
    """Two replicas with one seat each; a long answer sits in ``main-0`` when the second request, sent there too, comes."""
    trace = Trace(np.array([0.0, 0.1, 0.2]), np.full(3, 500), np.array([2000, 10, 300]))
    engine = {"max_num_seqs": 1, "num_gpu_blocks_override": 800, "max_model_len": 4096}
    return run({"router": {"kind": "round_robin"}, **gateway}, trace, replicas=2, engine=engine)


def test_the_first_token_wins_and_the_others_are_called_off_at_once() -> None:
    """Request 2 waits behind request 0 in main-0, is hedged to main-1 after 0.5 s, and is answered there: its first attempt
    never gets a token, so nothing is wasted."""
    alone = one_slow_replica().requests
    hedged = one_slow_replica(hedging={"delay_s": 0.5})
    requests = hedged.requests
    assert alone["replica"].tolist() == ["main-0", "main-1", "main-0"]
    assert requests["replica"].tolist() == ["main-0", "main-1", "main-1"]
    assert requests["attempts"].tolist() == [1, 1, 2]
    assert requests["ttft_s"][2] < 0.8
    assert alone["ttft_s"][2] > 10.0
    assert hedged.gateway["hedges"] == 1
    assert requests["wasted_tokens"].sum() == 0


def test_a_loser_stops_when_the_winner_has_its_first_token_not_its_last() -> None:
    """Two equal replicas, one request of 400 tokens, hedged after a millisecond: the loser's first token comes a millisecond
    late and is its only one, or nearly."""
    result = run({"hedging": {"delay_s": 0.001}}, equal_requests(1, output=400), replicas=2)
    assert result.requests["attempts"][0] == 2
    assert result.requests["output_tokens"][0] == 400
    assert result.requests["wasted_tokens"][0] <= 2
    assert int(result.replicas["output_tokens"].sum()) <= 402


def test_no_hedge_follows_the_first_token() -> None:
    """A first token within 0.2 s, an answer of seconds: nobody is hedged."""
    result = run({"hedging": {"delay_s": 0.3, "max_hedges": 5}}, equal_requests(3, 5.0, 200), replicas=3)
    assert (result.requests["ttft_s"] < 0.3).all()
    assert (result.requests["e2e_s"] > 0.3).all()
    assert result.gateway["hedges"] == 0


@pytest.mark.parametrize(("replicas", "hedges", "sent"), [(1, 3, 1), (2, 3, 2), (4, 2, 3), (6, 9, 6)])
def test_hedges_go_to_distinct_replicas(replicas: int, hedges: int, sent: int) -> None:
    """Prompts so long that none has its first token before all hedges are out, a millisecond apart."""
    trace = Trace(np.zeros(1), np.array([4000]), np.array([50]))
    result = run({"hedging": {"delay_s": 0.001, "max_hedges": hedges}}, trace, replicas=replicas)
    assert result.requests["attempts"][0] == sent
    assert (result.replicas["engine_steps"] > 0).sum() == sent
