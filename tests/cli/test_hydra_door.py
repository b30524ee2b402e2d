"""What Hydra refuses, or says in its own words, and what of it the command line mends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        pytest.param(["size", "--help"], "Configuration groups", id="size_help"),
        pytest.param(["conformance", "--help"], "CASE", id="conformance_help"),
        pytest.param(["size", "--cfg", "job"], "solve: replicas", id="size_cfg"),
        pytest.param(["sweep", "--cfg", "job", "gpu=h100"], "name: h100", id="sweep_cfg"),
        pytest.param(["-m", "--cfg", "job"], "name: l40s", id="multirun_cfg"),
        pytest.param(["experiment=null", "--cfg", "job"], "name: l40s", id="no_experiment"),
        pytest.param(["experiment=review_hybrid", "api=null", "--cfg", "job"], "apis: {}", id="no_api"),
    ],
)
def test_what_only_shows_ends_well(servecap, argv: list[str], word: str) -> None:
    ended = servecap(*argv)
    assert ended.code == 0
    assert word in ended.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["gpu=null"], ["gpu", "null", "preset"], id="group_null"),
        pytest.param(["engine=5"], ["engine", "5", "preset"], id="group_number"),
        pytest.param(["gpu=h10"], ["gpu", "h10", "did you mean h100", "l40s"], id="misspelt_preset"),
        pytest.param(["=3"], ["=3", "key=value"], id="no_key"),
        pytest.param(["--resolve"], ["--resolve"], id="resolve_alone"),
        pytest.param(["--shell-completion", "install=csh"], ["csh", "bash"], id="unknown_shell"),
        pytest.param(["size", "--config-dir"], ["expected one argument"], id="flag_without_value"),
        pytest.param(["engine.max_num_seqs=???"], ["engine.max_num_seqs"], id="missing_value"),
        pytest.param(["seed=${seed}"], ["Recursive"], id="recursive"),
        pytest.param(["engine.max_num_seqs=${nope}"], ["nope"], id="interpolation"),
        pytest.param(["-m", "hydra/launcher=basic", "seed=range(1,1)"], ["seed", "no value"], id="empty_axis"),
        pytest.param(["conformance", "--bogus"], ["conformance", "CASE"], id="conformance_flag"),
    ],
)
def test_what_hydra_refuses_is_exit_code_2(servecap, argv: list[str], words: list[str]) -> None:
    ended = servecap(*argv)
    assert ended.code == 2
    assert not ended.out
    for word in words:
        assert word in ended.message
    assert "Error executing job" not in ended.err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+foo=1", ["foo: no such key", "top level", "engine"]),
        ("+engine.blok_size=1", ["engine.blok_size: no such key", "did you mean block_size"]),
        ("fleet.pools.a.replica=1", ["fleet.pools.a.replica", "replicas", "market"]),
        ("slo.routes.chat.ttft_p95=1", ["slo.routes.chat.ttft_p95", "ttft_p95_s"]),
        ("gateway.router={kind: power_of_two, refresh: 1}", ["gateway.router.refresh", "staleness_s"]),
        ("engine.enable_lora=true", ["engine.enable_lora: no such key", "max_loras"]),
        ("+engine.speculative_config={}", ["did you mean speculative"]),
        ("+engine.kv_transfer_config={}", ["fleet=disaggregated", "engine.kv_offloading_size_gib"]),
        ("gateway.disaggregation.kind=always", ["whole: 'gateway.disaggregation={kind: ...}'"]),
    ],
)
def test_an_unknown_key_is_told_the_legal_ones(override: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        composed_scenario([override])
    for word in words:
        assert word in str(caught.value)


def test_keys_of_open_mappings_need_no_plus() -> None:
    scenario = composed_scenario(
        ["slo.routes.chat.ttft_p95_s=1", "slo.routes={code: {e2e_p95_s: 9}}", "fleet.pools.a.replicas=3", "gpu=h100"]
    )
    assert {name: route.targets() for name, route in scenario.slo.routes.items()} == {
        "chat": {"ttft_p95_s": 1.0},
        "code": {"e2e_p95_s": 9.0},
    }
    assert scenario.fleet.pools["a"].replicas == 3


def test_cells_are_stated_as_the_page_on_scale_states_them() -> None:
    scenario = composed_scenario(["fleet.replicas=8", "fleet.cells=4", "fleet.cells_by=tenant"])
    assert (scenario.fleet.cells, scenario.fleet.cells_by) == (4, "tenant")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["traces", "synth", "generator.yaml", "out.csv", "--seed", "-1"], ["--seed", "-1"]),
        (["conformance", "case"], ["case.json", "no JSON"]),
        (["validate", "measured"], ["measured.json", "not a measured case"]),
    ],
    ids=["seed", "conformance", "validate"],
)
def test_other_verbs_name_what_is_wrong(servecap, tmp_path: Path, argv: list[str], words: list[str]) -> None:
    for folder, name in (("case", "case.json"), ("case", "steps.jsonl"), ("measured", "measured.json")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text("[]" if folder == "measured" else "")
    ended = servecap(*argv)
    assert ended.code == 2
    for word in words:
        assert word in ended.message


def test_a_capped_trace_does_not_bound_the_load_from_below(servecap, tmp_path: Path) -> None:
    ended = servecap("capacity", "workload.limit=300", "fleet.replicas=1", "output.report=false", "hydra.run.dir=run")
    assert ended.code == 0
    held = pd.read_csv(tmp_path / "run" / "search.csv").query("verdict == 'pass'")["rate_scale"].max()
    assert 0.5 < held < 3
