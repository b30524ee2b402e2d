"""Flags beside Hydra's overrides: derived from the schema, they mean the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sim.cli.compose import composed_scenario
from sim.cli.front.flags import flag_table, key_of
from sim.cli.front.reference import plain_keys, reference_rows
from sim.cli.front.verbs import HYDRA_VERBS, PARSED_VERBS, TAKE_OVERRIDES, USUAL, own_flags
from sim.cli.front.words import as_overrides, flags_apart
from sim.cli.main import VERBS
from sim.errors import ConfigError
from sim.spec.keys import all_keys
from sim.spec.scenario import Scenario

SUBVERBS = {"traces": ("stats", "convert", "synth", "fit", "fetch"), "prices": ("list", "refresh")}


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("--gpu h100,l40s", "gpu=h100,l40s"),
        ("--slo-ttft-p95 1", "slo.ttft_p95_s=1"),
        ("--slo-ttft-p95-s=1", "slo.ttft_p95_s=1"),
        ("--ttft-p95 1 --tpot-p50 .02", "slo.ttft_p95_s=1 slo.tpot_p50_s=.02"),
        ("--e2e-p75 9", "slo.e2e_p75_s=9"),
        ("--trace my.csv", "workload.path=my.csv"),
        ("--max-num-seqs 8,16", "engine.max_num_seqs=8,16"),
        ("--max_num_seqs 8", "engine.max_num_seqs=8"),
        ("-tp 2", "engine.tensor_parallel_size=2"),
        ("--no-enable-prefix-caching", "engine.enable_prefix_caching=false"),
        ("--check-invariants", "check_invariants=true"),
        ("--check-invariants false", "check_invariants=false"),
        ("--gateway-client-timeout 30", "gateway.client_timeout_s=30"),
        ("--replicas 4 gpu=h100 -m", "fleet.replicas=4 gpu=h100 -m"),
        ("--config-dir mine --seed 3", "--config-dir mine seed=3"),
        ("--cfg job --resolve", "--cfg job --resolve"),
        ("--max-replicas 9", "search.max_replicas=9"),
    ],
)
def test_a_flag_is_its_key(line: str, meant: str) -> None:
    assert as_overrides(line.split()) == meant.split()


def test_text_is_quoted_for_hydra() -> None:
    assert as_overrides(["--trace", "my traffic (2).csv"]) == ["workload.path='my traffic (2).csv'"]
    assert as_overrides(["--trace", "a.csv,b.csv"]) == ["workload.path=a.csv,b.csv"]
    assert composed_scenario(["--workload-source", "it's {mine}: a=b"]).workload.source == "it's {mine}: a=b"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--slo-tft-p95 1", ["--slo-tft-p95", "--slo-ttft-p95"]),
        ("-gpu h100", ["two dashes", "--gpu"]),
        ("--gpu h100 --gpu l40s", ["--gpu", "twice", "A,B"]),
        ("--slo-ttft-p95", ["expected a value", "slo.ttft_p95_s", "s; > 0"]),
        ("--replicas --gpu h100", ["--replicas", "expected a value"]),
        ("--nonsense", ["--nonsense", "servecap keys nonsense"]),
    ],
)
def test_a_flag_that_is_none_says_what_is(line: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        as_overrides(line.split())
    for word in words:
        assert word in str(caught.value)


def test_every_plain_key_has_a_flag_and_the_reference_is_the_schema() -> None:
    table = flag_table()
    assert set(plain_keys()) <= set(table.values())
    assert sorted(row.key for row in reference_rows()) == sorted(key.key for key in all_keys(Scenario))


def test_flags_and_overrides_compose_the_same() -> None:
    by_flags = composed_scenario(["--gpu", "h100", "--max-num-seqs=64", "--slo-ttft-p95", "1", "--rate-per-s", "3"])
    by_keys = composed_scenario(["gpu=h100", "engine.max_num_seqs=64", "slo.ttft_p95_s=1", "workload.rate_per_s=3"])
    assert by_flags == by_keys


def test_what_help_tells_is_known() -> None:
    told = [flag for flags in (*HYDRA_VERBS.values(), *USUAL.values()) for flag in flags]
    for flag in told:
        assert flag.text or key_of(flag.name) is not None, flag
    assert set(VERBS) >= TAKE_OVERRIDES
    for verb in HYDRA_VERBS:
        for flag in HYDRA_VERBS[verb]:
            assert flag.name in own_flags(verb) or flag.name == "-m" or key_of(flag.name) is not None


def test_help_tells_the_verbs_own_options_first(servecap) -> None:
    told = servecap("size", "--help").out
    assert told.index("--max-replicas") < told.index("--slo-ttft-p95") < told.index("Configuration groups")
    assert "search" in servecap("help", "size").out
    assert servecap("run", "--version").out.startswith("servecap ")


def test_flags_apart_from_the_sides_of_a_comparison() -> None:
    words = ["gpu=h100", "--gpu l40s --replicas 2", "--slo-ttft-p95", "1", "--json"]
    assert flags_apart(words, frozenset({"--json"})) == (
        ["gpu=h100", "--gpu l40s --replicas 2", "--json"], ["slo.ttft_p95_s=1"],
    )  # fmt: skip


def test_a_run_and_a_sweep_end_as_json(servecap, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("arrival_s,input_tokens,output_tokens\n0,100,20\n0.5,100,20\n1,80,10\n")
    line = ["--trace", "my.csv", "--slo-ttft-p95", "5", "--json", "--out"]
    ended = servecap("run", *line, "one")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["requests"]["completed"] == 3
    assert found["run"]["folder"].endswith("one")
    ended = servecap("size", *line, "many", "--max-num-seqs", "8,16", "hydra/launcher=basic")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["feasible"] is True
    assert found["best"]["replicas"] == 1
    assert found["answer"].startswith("Cheapest")


def test_flags_within_options_and_sides(servecap, tmp_path: Path) -> None:
    """What a side or an option states itself wins over what holds for all; both may be written either way."""
    ended = servecap(
        "compare", "--replicas 2", "fleet.replicas=3", "gpu=h100", "--replicas", "4", "--limit", "200", "--json", "--quiet"
    )
    assert ended.code == 0, ended.err
    assert set(json.loads(ended.out)["against"]) == {"fleet.replicas=3", "gpu=h100"}
    line = ["--gpu", "l40s", "--limit", "200", "--option", "one: --gpu h100 --replicas 1 search.solve=none", "--no-decide-apis"]
    ended = servecap("decide", *line, "--json", "--quiet", "--out", "decided")
    assert ended.code in (0, 3)
    assert json.loads(ended.out)["options"][0]["fleet"]["main"]["gpu"] == "h100"
    assert "side by side" not in ended.err


@pytest.mark.parametrize("verb", sorted(PARSED_VERBS))
def test_flags_of_a_verb_with_a_parser_of_its_own(servecap, verb: str) -> None:
    """The table that help and completion read holds what the parser takes: as its help says it."""
    told = [servecap(verb, "--help").out]
    told += [servecap(verb, one, "--help").out for one in SUBVERBS.get(verb, ())]
    found = {
        word
        for text in told
        for word in re.findall(r"(?<![\w-])--[a-z][\w-]*\w(?![\w-]*-\n)", text.partition("options:")[2])
    }
    assert found - {"--help", "--config-dir", "--only"} == PARSED_VERBS[verb] - {"--config-dir", "--only"}
    assert "--json" in PARSED_VERBS[verb]
