"""Bad input ends with exit code 2 and one message: which key, file and row, what was found, what is legal."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from tests.cli.conftest import SMALL

HEAD = "arrival_s,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param(["engine.blok_size=16"], ["engine.blok_size", "block_size"], id="unknown_key"),
        pytest.param(["gpuu=l40s"], ["gpuu", "gpu"], id="unknown_group"),
        pytest.param(["gpu=l41s"], ["l41s", "l40s", "h100"], id="unknown_preset"),
        pytest.param(["+engine.blok_size=16"], ["engine.blok_size"], id="unknown_key_added"),
        pytest.param(["engine.max_num_seqs=many"], ["engine.max_num_seqs", "many", "integer"], id="text_for_a_number"),
        pytest.param(["engine.max_num_seqs=-4"], ["engine.max_num_seqs", "-4", "1"], id="negative"),
        pytest.param(["engine.max_num_seqs=2.7"], ["engine.max_num_seqs", "2.7"], id="fraction"),
        pytest.param(["workload.rate_scale=nan"], ["workload.rate_scale", "nan"], id="nan"),
        pytest.param(["engine.scheduling_policy=lifo"], ["scheduling_policy", "lifo", "fcfs"], id="unknown_choice"),
        pytest.param(["slo.ttft_p95_s=0", "seed=-1"], ["slo.ttft_p95_s", "seed"], id="every_error_at_once"),
        pytest.param(["engine.max_num_seqs=[1"], ["max_num_seqs=[1"], id="grammar"),
        pytest.param(["workload.path=nowhere.csv"], ["nowhere.csv"], id="no_such_trace"),
        pytest.param(["model=llama3_70b"], ["llama3_70b", "l40s", "GiB"], id="model_that_does_not_fit"),
        pytest.param(["model.hf_config=nowhere.json"], ["nowhere.json"], id="no_such_hf_config"),
        pytest.param(["workload=azure_conv_2023"], ["workload.path"], id="trace_that_does_not_ship"),
    ],
)
def test_a_bad_configuration_is_one_message(servecap, tmp_path: Path, overrides: list[str], words: list[str]) -> None:
    ended = servecap(*SMALL, *overrides, "hydra.run.dir=run")
    assert ended.code == 2
    for word in words:
        assert word in ended.message
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(HEAD + "0.0,10,5\n1.0,ten,5\n", ["row 2", "ten", "input_tokens"], id="malformed"),
        pytest.param(HEAD + "0.0,10,5\n1.0,10\n", ["row 2"], id="short_row"),
        pytest.param(HEAD + "0.0,10,5\n1.0,-3,5\n", ["row 2", "-3", "input_tokens"], id="negative"),
        pytest.param(HEAD + "0.0,10,5\nnan,10,5\n", ["row 2", "arrival_s"], id="nan"),
        pytest.param(HEAD + "5.0,10,5\n1.0,10,5\n", ["row 2", "arrival_s"], id="unsorted"),
        pytest.param(HEAD, ["no usable request"], id="empty"),
        pytest.param("", [], id="no_bytes"),
        pytest.param("when,what\n1,2\n", ["arrival_s"], id="unknown_columns"),
    ],
)
def test_a_bad_trace_names_file_and_row(servecap, tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "mine.csv").write_text(text)
    ended = servecap("workload.path=mine.csv", "hydra.run.dir=run")
    assert ended.code == 2
    for word in ("mine.csv", *words):
        assert word in ended.message
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_folder_that_cannot_be_written(servecap, tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    sweep = ["-m", "hydra/launcher=basic"] if "sweep" in key else []
    ended = servecap(*sweep, *SMALL, f"{key}=file/run")
    assert ended.code == 2
    assert "file/run" in ended.message


def test_an_unknown_verb_is_not_taken_for_an_override(servecap) -> None:
    ended = servecap("sise")
    assert ended.code == 2
    assert "sise" in ended.message


def test_a_value_with_a_kind_is_replaced_whole() -> None:
    users = composed_scenario(["gateway.users={kind: closed, users: 7}"]).gateway.users
    assert (users.kind, users.users) == ("closed", 7)  # type: ignore[union-attr]
    retries = composed_scenario(["gateway.retries={kind: backoff, max_attempts: 4}"]).gateway.retries
    assert retries is not None
    assert retries.max_attempts == 4  # type: ignore[union-attr]
    hazard = composed_scenario(["spot=aws", "spot.hazard={kind: weibull, scale_h: 2, shape: 0.5}"]).spot.hazard
    assert hazard is not None
    assert hazard.kind == "weibull"


def test_keys_of_another_kind_say_how_to_state_it() -> None:
    with pytest.raises(ConfigError, match=r"gateway\.users=\{kind: \.\.\., users: \.\.\.\}"):
        composed_scenario(["gateway.users.users=7"])
