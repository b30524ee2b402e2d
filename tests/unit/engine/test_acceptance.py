"""How many drafts are accepted, and how the spec says it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sim.engine.acceptance import AcceptancePath, AcceptancePaths
from sim.spec import EngineSpec
from sim.spec.speculative import MEASURED_RATES, SpeculativeSpec, rates_of


def mean(path: AcceptancePath, drafts: int, verifications: int = 4000) -> float:
    return sum(path.accepted(j, drafts) for j in range(verifications)) / verifications


def spec(acceptance: Any, drafts: int = 3, method: str = "eagle3") -> SpeculativeSpec:
    return SpeculativeSpec(method=method, num_speculative_tokens=drafts, acceptance=acceptance)  # type: ignore[arg-type]


def test_a_stated_list_is_used_again_and_again() -> None:
    path = AcceptancePath([0, 5, 2])
    assert [path.accepted(j, 3) for j in range(7)] == [0, 3, 2, 0, 3, 2, 0]
    assert AcceptancePath([0], proposals=[2, 9]).proposed(0, 3) == 2 and path.proposed(0, 3) == 3


@pytest.mark.parametrize("stated", [2.2, {"rates": [0.8, 0.3, 0.1]}, [0.8, 0.3, 0.1]])
@pytest.mark.parametrize("schedule", ["drawn", "even"])
def test_the_mean_is_what_was_stated(stated: Any, schedule: str) -> None:
    speculative = spec(stated)
    acceptance = type(speculative.acceptance)(
        rates=speculative.acceptance.rates,
        length=speculative.acceptance.length,
        schedule=schedule,  # type: ignore[arg-type]
    )
    path = AcceptancePaths(spec(acceptance), 7).of("r1", "")
    assert mean(path, 3) == pytest.approx(1.2, abs=0.05 if schedule == "drawn" else 1e-3)
    if schedule == "even":
        assert {path.accepted(j, 3) for j in range(100)} == {1, 2}


def test_each_request_draws_from_a_stream_of_its_own() -> None:
    paths, again = AcceptancePaths(spec(2.2), 7), AcceptancePaths(spec(2.2), 7)
    first = [paths.of("a", "").accepted(j, 3) for j in range(50)]
    assert first == [again.of("a", "").accepted(j, 3) for j in range(50)]
    assert first != [paths.of("b", "").accepted(j, 3) for j in range(50)]
    assert first != [AcceptancePaths(spec(2.2), 8).of("a", "").accepted(j, 3) for j in range(50)]
    means = [mean(paths.of(name, ""), 3, 500) for name in range(40)]
    assert sum(means) / 40 == pytest.approx(1.2, abs=0.03)


def test_fewer_drafts_accept_what_the_first_positions_accept() -> None:
    path = AcceptancePaths(spec([0.8, 0.3, 0.1]), 1).of("a", "")
    assert all(path.accepted(j, 1) == min(1, path.accepted(j, 3)) for j in range(200))
    assert mean(path, 1) == pytest.approx(0.8, abs=0.03)


def test_routes_have_their_own() -> None:
    routes = {"code": {"length": 3.4}, "chat": {}}
    paths = AcceptancePaths(spec({"length": 2.0, "routes": routes}), 1)
    assert mean(paths.of("a", "code"), 3) == pytest.approx(2.4, abs=0.05)
    assert mean(paths.of("a", "chat"), 3) == mean(paths.of("a", "other"), 3) == pytest.approx(1.0, abs=0.05)


def test_a_length_is_spread_geometrically() -> None:
    rates = rates_of(spec(2.5).acceptance, "eagle3", 3)
    assert sum(rates) == pytest.approx(1.5)
    assert rates[1] / rates[0] == pytest.approx(rates[2] / rates[1]) == pytest.approx(rates[0])


def test_positions_behind_the_last_rate_keep_its_ratio() -> None:
    assert rates_of(spec([0.8, 0.4], 4).acceptance, "mtp", 4) == pytest.approx((0.8, 0.4, 0.2, 0.1))
    for method, (rates, _, _) in MEASURED_RATES.items():
        assert rates_of(spec(None, 8).acceptance, method, 8) == rates
        assert list(rates) == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"method": "eagle3", "num_speculative_tokens": 3, "acceptance": 4.5}, "at most drafts \\+ 1 = 4"),
        ({"method": "eagle3", "num_speculative_tokens": 3, "acceptance": 1}, "length: 1"),
        ({"method": "eagle3", "num_speculative_tokens": 3, "acceptance": 0.7}, "acceptance length"),
        ({"method": "eagle3", "num_speculative_tokens": 3, "acceptance": [0.3, 0.6]}, "not increase"),
        ({"method": "eagle3", "num_speculative_tokens": 3, "acceptance": {"rates": [0.3], "length": 2.0}}, "both"),
        ({"method": "eagle3", "num_speculative_tokens": 3, "acceptance": [1.3]}, "less than or equal to 1"),
        ({"num_speculative_tokens": 3}, "needs a method"),
        ({"method": "medusa", "num_speculative_tokens": 3}, "eagle3"),
        ({"method": "ngram", "num_speculative_tokens": 3, "num_nextn_predict_layers": 2}, "belongs to mtp"),
        (
            {"method": "mtp", "num_speculative_tokens": 3, "num_speculative_tokens_per_batch_size": [[2, 4, 3]]},
            "begin at 1",
        ),
        (
            {"method": "mtp", "num_speculative_tokens": 3, "num_speculative_tokens_per_batch_size": [[1, 4, 3], [4, 5, 1]]},
            "without overlap",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(stated: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        EngineSpec(speculative=stated)  # type: ignore[arg-type]


def test_other_engines_decisions_have_no_speculation_and_no_adapters() -> None:
    with pytest.raises(ValidationError, match="`speculative` is modelled for vLLM's own decisions only"):
        EngineSpec(speculative={"method": "ngram", "num_speculative_tokens": 3}, batch_order="prefill_first")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="`max_loras` is modelled"):
        EngineSpec(max_loras=2, admission_reserve="forecast")
    with pytest.raises(ValidationError, match="max_cpu_loras >= max_loras"):
        EngineSpec(max_loras=4, max_cpu_loras=2)
