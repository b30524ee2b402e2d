"""Users who each send rows of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.cli.compose import composed_scenario
from sim.errors import TraceError
from sim.run import simulate
from sim.spec.gateway.users import ClosedLoop
from sim.workload import Trace

SCENARIO = composed_scenario(["fleet.replicas=1"])
USERS = replace(SCENARIO, gateway=replace(SCENARIO.gateway, users=ClosedLoop(users=3, own_rows=True)))


def trace(**labels: np.ndarray) -> Trace:
    return Trace(
        arrival_s=np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        input_tokens=np.full(7, 200),
        output_tokens=np.array([10, 400, 20, 10, 30, 10, 10]),
        labels=labels,
    )


def test_each_user_sends_its_own_rows_one_after_the_other() -> None:
    found = simulate(USERS, trace(user=np.array(["a", "b", "c", "a", "a", "b", "a"], dtype=object))).requests
    found = found.sort_values("request_id")
    sent, ended = found["arrival_s"].to_numpy(), found["finish_s"].to_numpy()
    assert sent[:3] == pytest.approx([0.0, 0.1, 0.2]), "everybody comes at the time of the own first row"
    for own in ([0, 3, 4, 6], [1, 5], [2]):
        assert sent[own[1:]] == pytest.approx(ended[own[:-1]])


def test_a_trace_that_names_no_users_is_refused() -> None:
    with pytest.raises(TraceError, match="column `user`"):
        simulate(USERS, trace())
