from __future__ import annotations

from typing import Any

import pytest

from sim.errors import ConfigError
from sim.record import Result
from tests.laws.test_gateway import API, run, trace_of

HYBRID = {"uncertain_fraction": 0.4, "after_failure": False}


def played(*changes: dict[str, Any], apis: tuple[str, ...] = ("first", "second"), hybrid: Any = HYBRID) -> Result:
    gateway = {"hybrid": hybrid, "apis": {name: {**API, "max_attempts": 1} for name in apis}}
    return run(gateway, trace_of(3, n=300, rate=10.0), timeline=list(changes))


def test_a_provider_answers_nothing_during_its_outage_and_the_next_one_stands_in() -> None:
    result = played({"kind": "api_outage", "at_s": 10.0, "until_s": 20.0, "provider": "first"})
    requests = result.requests
    left, during = requests["outcome"] == "escalated", requests["arrival_s"].between(10.0, 20.0, inclusive="left")
    assert (left & during).any()
    assert (left & ~during).any()
    assert set(requests["pool"][left & during]) == {"second"}
    assert set(requests["pool"][left & ~during]) == {"first"}


def test_an_outage_of_all_providers_to_the_end_fails_whom_only_they_serve() -> None:
    result = played({"kind": "api_outage", "at_s": 10.0}, hybrid={"api_first": True, "after_failure": False})
    late = result.requests["arrival_s"] >= 10.0
    assert set(result.requests["outcome"][late]) == {"failed"}
    assert set(result.requests["outcome"][~late]) == {"escalated"}


def test_the_escalation_rate_changes_while_it_holds() -> None:
    plain = played().requests
    halved = played({"kind": "escalation", "at_s": 10.0, "until_s": 20.0, "factor": 0.5}).requests
    during = plain["arrival_s"].between(10.0, 20.0, inclusive="left")
    before, now = plain["outcome"] == "escalated", halved["outcome"] == "escalated"
    assert 0 < now[during].sum() < before[during].sum()
    assert (before | ~now).all()  # a smaller chance only takes requests away from those that leave
    assert (now == before)[~during].all()
    off = played({"kind": "escalation", "at_s": 0.0, "factor": 0.0}).requests
    assert set(off["outcome"]) == {"completed"}


@pytest.mark.parametrize(
    ("change", "apis", "hybrid", "said"),
    [
        ({"kind": "api_outage", "provider": "nobody"}, ("first",), HYBRID, r"provider 'nobody'; gateway\.apis has first"),
        ({"kind": "api_outage"}, (), None, r"timeline\.0\.provider: .* gateway\.apis has none"),
        ({"kind": "api_outage", "until_s": 0.5}, ("first",), HYBRID, r"timeline\.0\.until_s: must be after at_s"),
        ({"kind": "escalation", "factor": 2.0}, ("first",), None, r"timeline\.0: .* needs gateway\.hybrid"),
    ],
)
def test_a_change_with_nothing_to_act_on_is_refused(change: Any, apis: Any, hybrid: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        played({"at_s": 1.0, **change}, apis=apis, hybrid=hybrid)
