"""Scenarios from presets without Hydra are those that Hydra composes."""

from __future__ import annotations

import pytest
from hydra_plugins.servecap import slo_sweeper

import sim
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.presets.compose import preset_names, scenario
from sim.presets.packaged import packaged_presets


def test_the_default_is_the_default() -> None:
    assert scenario() == composed_scenario([])


@pytest.mark.parametrize("fleet", sorted(packaged_presets()["fleet"]))
def test_every_fleet_states_its_cells(fleet: str) -> None:
    """So that ``fleet.cells=N`` needs no plus signs, whatever fleet is chosen."""
    chosen = composed_scenario([f"fleet={fleet}", "spot=aws", "fleet.cells=1", "fleet.cells_by=tenant"])
    assert (chosen.fleet.cells, chosen.fleet.cells_by) == (1, "tenant")


PLAIN = {group: sorted(names) for group, names in packaged_presets().items() if group not in ("search", "experiment")}
MOST = max(map(len, PLAIN.values()))


def test_every_preset_is_read_as_hydra_reads_it() -> None:
    """One of each group at a time, so that each is met once or oftener; few of such mixtures are refused."""
    assert sum(the_mixture_is_refused(number) for number in range(MOST)) < MOST / 3


def the_mixture_is_refused(number: int) -> bool:
    chosen = {group: names[number % len(names)] for group, names in PLAIN.items()}
    if number < len(PLAIN["engine"]):
        del chosen["speculative"]  # which not every engine has
    else:
        chosen["engine"] = "vllm"
    if chosen["fleet"] == "disaggregated":
        chosen["kv_offload"] = "none"  # an engine exchanges KV with others, or has host memory behind its cache
    return not assert_same(chosen)


@pytest.mark.parametrize("name", sorted(packaged_presets()["experiment"]))
def test_every_experiment_is_read_as_hydra_reads_it(name: str) -> None:
    slo_sweeper.register()  # one experiment chooses it
    assert_same({"experiment": name})


def assert_same(chosen: dict[str, str]) -> bool:
    """Also where both refuse; whether neither did."""
    try:
        expected = composed_scenario([f"{group}={name}" for group, name in chosen.items()])
    except ConfigError as refused:
        with pytest.raises(ConfigError) as ours:
            scenario(**chosen)
        assert str(ours.value) == str(refused)
        return False
    assert scenario(**chosen) == expected
    return True


def test_single_keys_specs_and_pools() -> None:
    mine = scenario(
        gpu="h100", engine={"preset": "sglang", "max_num_seqs": 64}, workload={"path": "mine.csv"},
        fleet={"pools": {"big": {"gpu": "h200", "replicas": 2}}}, gateway={"users": {"kind": "closed", "users": 7}},
        slo=sim.Slo(ttft_p95_s=1.0), seed=3,
    )  # fmt: skip
    assert mine == composed_scenario([
        "gpu=h100", "engine=sglang", "engine.max_num_seqs=64", "workload.path=mine.csv", "seed=3", "slo=none",
        "fleet.pools.big={gpu: h200, replicas: 2}", "gateway.users={kind: closed, users: 7}", "slo.ttft_p95_s=1",
        "slo.name=custom", "slo.source=''",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"gpuu": "h100"}, ["gpuu", "did you mean gpu?"]),
        ({"gpu": "h10"}, ["h10", "did you mean h100"]),
        ({"engine": {"blok_size": 1}}, ["engine.blok_size", "block_size"]),
        ({"engine": {"max_num_seqs": 0}, "seed": -1}, ["engine.max_num_seqs", "seed"]),
        ({"fleet": {"pools": {"a": {"gpu": "h10"}}}}, ["h10"]),
    ],
)
def test_what_is_wrong_is_said(groups: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario(**groups)
    for word in words:
        assert word in str(caught.value)


def test_names() -> None:
    assert "l40s" in preset_names("gpu")
    with pytest.raises(ConfigError, match="did you mean gpu"):
        preset_names("gpus")
