"""Faults that real use found at the door: each is one message with exit code 2, or does what was meant."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sim.cli import environment
from sim.cli.main import main
from sim.cli.plain_words import printable

FEW = ("workload.limit=20", "output.report=false", "output.timeseries=false", "hydra.run.dir=run")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["slo=[]"], ["slo", "one preset", "slo.KEY"]),
        (["+slo@slo=[]"], ["slo", "one preset"]),
        (["slo={}"], ["slo", "one preset"]),
        (["model=[[llama3_8b]]"], ["model", "one preset"]),
        (["workload.limit=1_0"], ["workload.limit", "1_0", "0-9"]),
        (["fleet.replicas=٣"], ["fleet.replicas", "٣", "0-9"]),
        (["-m", "seed=1_0,2"], ["seed", "1_0"]),
        (["-m", "seed=range(1,1_0)"], ["seed", "1_0"]),
        (["slo.ttft_p95_s=１"], ["slo.ttft_p95_s", "0-9"]),
        (["hydra.sweeper=3", "-m"], ["hydra.sweeper", "3"]),
        (["hydra.launcher=null", "-m"], ["hydra.launcher", "None"]),
        (["hydra.callbacks.watch=3"], ["instantiate"]),
        (["engine.block_size=7"], ["engine.block_size", "16", "7"]),
        (["fleet.pools={a: {replicas: 1, engine: {block_size: 12}}}"], ["fleet.pools.a.engine.block_size", "12"]),
        (["engine.max_num_seqs=100000", "engine.max_num_batched_tokens=100000"], ["activations", "max_num_batched_tokens"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_makes_no_sense(servecap, argv: list[str], words: list[str]) -> None:
    ended = servecap(*FEW, *argv)
    assert ended.code == 2
    for word in words:
        assert word in ended.message


@pytest.mark.parametrize("argv", [["--context-tokens", "٢٠"], ["--context-tokens=1_0"], ["--usd-per-hour", "1_0.5"]])
def test_flags_take_plain_numbers(servecap, argv: list[str]) -> None:
    ended = servecap("calc", *argv)
    assert (ended.code, "0-9" in ended.message) == (2, True)


def test_names_that_look_like_numbers_want_quotes(servecap, tmp_path: Path) -> None:
    (tmp_path / "2024_01").write_text("arrival_s,input_tokens,output_tokens\n0,10,10\n")
    assert servecap(*FEW, "workload.path='2024_01'", "workload.format=native").code == 0
    assert servecap("traces", "stats", "2024_01", "--format", "native").code == 0


def test_a_budget_holds_in_a_single_run(servecap) -> None:
    ended = servecap(*FEW, "fleet.replicas=2", "search.max_usd_per_hour=0.1")
    assert (ended.code, "search.max_usd_per_hour=0.1" in ended.message) == (3, True)
    assert servecap(*FEW, "fleet.replicas=2", "search.max_usd_per_hour=100").code == 0


def test_a_budget_holds_in_a_sweep_of_fleets(servecap, tmp_path: Path) -> None:
    ended = servecap(
        "sweep",
        *FEW[:3],
        "fleet.replicas=1,50",
        "search.max_usd_per_hour=3",
        "hydra/launcher=basic",
        "hydra.sweep.dir=sweep",
    )
    assert ended.code == 0
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(table["status"]) == ["done", "infeasible"]
    assert "search.max_usd_per_hour=3 does not pay for this fleet" in table["reason"][1]


@pytest.mark.parametrize("packed", [False, True])
def test_conformance_reads_what_became_of_each_request(servecap, tmp_path: Path, packed: bool) -> None:
    recorded = Path(__file__).parents[1] / "conformance" / "cases" / "s02_kv_pressure"
    shutil.copytree(recorded, tmp_path / "case")
    path = tmp_path / "case" / "requests.jsonl.gz"
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert servecap("conformance", "case").out.endswith("1 of 1 identical\n")
    rows[5] = json.dumps(json.loads(rows[5]) | {"cached_tokens": 7})
    text = "\n".join(rows).encode()
    path.write_bytes(gzip.compress(text)) if packed else path.with_suffix("").write_bytes(text)
    ended = servecap("conformance", "case")
    assert ended.code == 1
    assert "cached_tokens: recorded 7" in ended.out


def test_a_line_without_an_end_is_refused_at_once(servecap, tmp_path: Path) -> None:
    assert servecap("workload.limit=20", "hydra.run.dir=run").code == 0
    (tmp_path / "run" / "events.jsonl").write_text('{"time_s": 0, "x": "' + "y" * (10 << 20) + '"}\n')
    began_s = time.process_time()
    ended = servecap("report", "run")
    assert (ended.code, "events.jsonl, line 1" in ended.message) == (2, True)
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    "line", ["servecap gpu=", "python -m sim gpu=", "/usr/bin/python3.11 -m sim size gpu=", "servecap run gpu="]
)
def test_completion(servecap, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    ended = servecap("-sc", "query=bash")
    assert ended.code == 0
    assert "gpu=l40s" in ended.out
    assert os.environ["COMP_LINE"] == line


def test_completion_of_nothing(servecap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert "gpu=" in servecap("-sc", "query=bash").out
    assert "COMP_LINE" not in os.environ


@pytest.mark.parametrize(
    "argv",
    [list(FEW), ["sweep", *FEW[:3], "seed=1,2", "hydra/launcher=basic", "search.solve=none", "hydra.sweep.dir=sweep"]],
    ids=["run", "sweep"],
)
def test_a_terminal_of_ascii_shows_the_answer(tmp_path: Path, argv: list[str]) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [sys.executable, "-m", "sim", *argv], cwd=tmp_path, env=environ, capture_output=True, check=False, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.isascii()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ImportError("no pyarrow", name="pyarrow.lib"), "damaged"),
        (ModuleNotFoundError("No module named 'simpy'", name="simpy"), "simpy"),
        (MemoryError(), "memory"),
        (OSError(28, "No space left on device"), "No space left"),
        (ImportError("cannot import name", name="sim.run"), None),
        (ValueError("x"), None),
    ],
    ids=str,
)
def test_the_environment_is_never_a_defect_of_servecap(
    error: Exception, word: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(argv: object) -> int:
        raise error

    monkeypatch.setattr("sim.cli.main._verb", lambda verb: fails)
    code, told = main([]), capsys.readouterr().err
    assert code == (1 if word is None else 2)
    assert ("defect of servecap" in told) == (word is None)
    assert word is None or (word in told and "Traceback" not in told)


def test_the_version_of_a_bare_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise environment.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "version", missing)
    assert environment.version() == "0+checkout"


def test_messages_steer_no_terminal() -> None:
    assert printable("a\x1b[2Jb\nc") == "a\\x1b[2Jb\nc"
    assert len(printable("x" * 10_000)) < 300
