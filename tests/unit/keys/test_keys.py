"""The configuration's keys, told: the whole schema once, each with unit, default, legal range and source."""

from __future__ import annotations

import json

import pytest
import yaml

from sim.cli.keys import explain, main, matching
from sim.errors import ConfigError
from sim.spec.keys import all_keys, keys_told
from sim.spec.scenario import Scenario, parse_scenario, scenario_to_dict
from tests.presets import CONFIGS, gpu, model

KEYS = all_keys(Scenario)


def scenario() -> Scenario:
    lengths = {"kind": "constant", "tokens": 100}
    arrivals = {"kind": "poisson", "rate_per_s": 1.0}
    traffic = {"duration_s": 60.0, "arrivals": arrivals, "input_tokens": lengths, "output_tokens": lengths}
    return Scenario(model=model("llama3_8b"), gpu=gpu("l40s"), workload={"generator": traffic})  # type: ignore[arg-type]


def stated(key: str, kind: str = ""):
    return next(one for one in KEYS if one.key == key and (not kind or kind in one.kinds))


def test_a_key_has_its_unit_default_legal_range_and_meaning() -> None:
    base = stated("gateway.retries.base_s", "litellm")
    assert (base.unit, base.default, base.legal, base.type) == ("s", 0.5, ">= 0", "float")
    assert "INITIAL_RETRY_DELAY" in base.source
    assert stated("engine.max_num_seqs").legal == ">= 1 | null"
    assert stated("gpu.bandwidth_gb_s").unit == "GB/s" and stated("gpu.bandwidth_gb_s").required
    assert stated("autoscaler.kind").legal.startswith("none | tokens_in_flight")
    assert stated("gateway.network_one_way_s").legal == "each >= 0"
    assert stated("timeline.N.at_s").description == "When, s from the start of the run."  # a base class's docstring


def test_a_class_is_told_once_and_pointed_to_elsewhere() -> None:
    assert stated("fleet.pools.NAME.engine").type == "keys, as engine"
    assert not any(one.key.startswith("fleet.pools.NAME.engine.") for one in KEYS)
    assert len({(one.key, one.kinds) for one in KEYS}) == len(KEYS)


def leaves(data, path=()):
    for name, value in data.items():
        yield from leaves(value, (*path, name)) if isinstance(value, dict) and value else [(*path, name)]


def test_every_key_of_a_configuration_is_told() -> None:
    """What a composed scenario dumps, down to its leaves, ``explain`` knows."""
    for path in leaves(scenario_to_dict(scenario())):
        told, _ = keys_told(Scenario, ".".join(path))
        assert told or path[-2] in ("percentiles", "step_time_scale", "rejected_is_miss"), path


@pytest.mark.parametrize("key", ["gateway.queue.max_in_flight", "slo.max_failed_fraction", "seed", "engine.version"])
def test_a_default_that_is_told_is_the_one_that_holds(key: str) -> None:
    data = scenario_to_dict(scenario())
    *path, name = key.split(".")
    place = data
    for part in path:
        place = place[part]
    del place[name]
    found = parse_scenario(data)
    for part in (*path, name):
        found = getattr(found, part)
    assert found == stated(key).default


def test_the_list_as_json_has_the_members_that_are_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway.retries", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all({"key", "type", "unit", "default", "legal", "description", "source"} <= set(row) for row in rows)
    assert all("gateway.retries" in row["key"] for row in rows)


def test_patterns_find_keys_and_words_of_descriptions() -> None:
    assert {one.key for one in matching("*.max_num_seqs")} == {"engine.max_num_seqs"}
    assert any(one.key == "gateway.retries.max_retry_after_s" for one in matching("longer Retry-After"))
    with pytest.raises(ConfigError, match=r"did you mean.*max_num_seqs"):
        matching("max_num_sequs")


def test_explain_tells_formula_and_source_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(["gateway.retries"]) == 0
    told = capsys.readouterr().out
    for part in (
        "kind: backoff",
        "min(``base_s`` x 2^(n-1), ``max_s``)",
        "kind: litellm",
        "source",
        "legal",
        "default  null",
    ):
        assert part in told
    assert explain(["fleet.pools.batch.engine.max_num_seqs"]) == 0
    assert "requests" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="did you mean retries"):
        explain(["gateway.retrys"])


def test_explain_shows_what_the_shipped_presets_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(["gateway.retries.base_s"]) == 0
    told = capsys.readouterr().out
    assert "0.1: grpc" in told and "1.0: aws_sdk" in told
    assert explain(["gpu"]) == 0
    assert "presets (gpu=...):" in (told := capsys.readouterr().out) and "h100" in told


@pytest.mark.parametrize(("written", "part"), [
    ("++engine.version=0.30", "vLLM release"), ("slo.ttft_p75_s", "Every other percentile"), ("timeline.0.max_surge", "maxSurge"),
    ("slo.routes.chat.queue_p95_s", "Every other percentile"), ("autoscaler.hpa_v2.up_pods", "replicas"),
    ("gateway.admission.0.kind", "rate_limit"),
])  # fmt: skip
def test_a_key_is_explained_as_it_is_written_in_an_override(
    written: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain([written]) == 0
    assert part in capsys.readouterr().out


def test_every_key_of_the_default_configuration_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((CONFIGS / "config.yaml").read_text(encoding="utf-8"))
    groups = {name for entry in config.pop("defaults") if isinstance(entry, dict) for name in entry}
    del config["hydra"]
    for key in {name for name in groups if not name.startswith("override ")} | set(config):
        assert explain([key]) == 0
    assert "gateway.apis" in capsys.readouterr().out


def test_an_option_that_is_not_modelled_is_said_to_be_so() -> None:
    with pytest.raises(ConfigError, match=r"swapping of preempted requests .* is not modelled"):
        explain(["engine.swap_space"])
