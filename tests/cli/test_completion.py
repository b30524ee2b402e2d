"""Shell completion: what is offered where, in bash's, zsh's and fish's own hands, fast and without the specs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sim.cli.front.complete import SHELLS, answer
from sim.cli.main import VERBS
from tests.imports import imported_by

TOLD = {name: text for name, (_, text) in VERBS.items()}


def offered(line: str, shell: str = "fish") -> list[str]:
    return [found.partition("\t")[0] for found in answer(TOLD, shell, line).splitlines()]


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("servecap si", ["size"]),
        ("servecap ", ["run", "traces", "gpu=", "engine."]),
        ("python -m sim siz", ["size"]),
        (".venv/bin/python3.11 -m sim run gpu=h2", ["gpu=h20", "gpu=h200"]),
        ("servecap size gpu=h100,l40", ["gpu=h100,l40s"]),
        ("servecap size --gpu h100,l40", ["h100,l40s"]),
        ("servecap run --slo-ttft-p9", ["--slo-ttft-p90", "--slo-ttft-p95", "--slo-ttft-p99"]),
        ("servecap run engine.max_num_s", ["engine.max_num_seqs="]),
        ("servecap run engine.scheduling_policy=f", ["engine.scheduling_policy=fcfs"]),
        ("servecap run --scheduling-policy ", ["fcfs", "priority"]),
        ("servecap run check_invariants=", ["check_invariants=true"]),
        ("servecap run hydra/launcher=jo", ["hydra/launcher=joblib"]),
        ("servecap explain gateway.retr", ["gateway.retries"]),
        ("servecap traces ", ["stats", "convert"]),
        ("servecap completion z", ["zsh"]),
        ("servecap size --json --quiet --ou", ["--out"]),
        ("SERVECAP_PURE=1 servecap run --tra", ["--trace"]),
    ],
)
def test_what_is_offered(line: str, some: list[str]) -> None:
    assert set(some) <= set(offered(line))


def test_files_and_presets_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my traffic.csv").touch()
    (tmp_path / "mine" / "gpu").mkdir(parents=True)
    (tmp_path / "mine" / "gpu" / "ours.yaml").touch()
    assert offered("servecap run --trace m") == ["mine/", "my traffic.csv"]
    assert offered("servecap run workload.path=my", "bash") == ["my\\ traffic.csv"]
    assert offered("servecap run --config-dir mine gpu=ou") == ["gpu=ours"]
    assert offered("servecap report mi") == ["mine/"]
    assert offered("servecap run workload.path=nowhere/x") == []


def test_nothing_but_the_standard_library_is_imported() -> None:
    heavy, out = imported_by(
        "from sim.cli.main import main; main(['__complete', 'fish', 'servecap run --slo'])",
        {"numpy", "scipy", "pandas", "pyarrow", "hydra", "omegaconf", "pydantic", "rich", "yaml"},
    )
    assert heavy == set()
    assert "--slo-ttft-p95\tLimit of the 95th percentile" in out


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_the_shells(servecap, shell: str) -> None:
    ended = servecap("completion", shell)
    assert ended.code == 0
    assert f"__complete {shell}" in ended.out
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    checked = subprocess.run([shell, "-n"], input=ended.out, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def in_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``servecap`` is this checkout's program."""
    (tmp_path / "bin").mkdir()
    for name, rest in {"servecap": "-m sim", "python3": ""}.items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {rest} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd()), "TERM": "dumb"}


@pytest.mark.parametrize(
    ("words", "index", "line", "reply"),
    [
        ("(servecap siz)", 1, "servecap siz", ["size"]),
        ("(servecap size gpu = h10)", 4, "servecap size gpu=h10", ["h100"]),
        (
            "(servecap run --slo-ttft-p95)",
            2,
            "servecap run --slo-ttft-p9",
            ["--slo-ttft-p90", "--slo-ttft-p95", "--slo-ttft-p99"],
        ),
        ("(python3 -m sim capac)", 3, "python3 -m sim capac", ["capacity"]),
        ("(python3 other.py capac)", 2, "python3 other.py capac", []),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, index: int, line: str, reply: list[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed here")
    code = (
        f'eval "$(servecap completion bash)"; COMP_WORDS={words}; COMP_CWORD={index}; COMP_LINE="{line}"; '
        'COMP_POINT=${#COMP_LINE}; compopt() { :; }; _servecap; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = in_path(tmp_path)
    done = subprocess.run([bash, "--norc", "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == reply, done.stderr


def test_fish_completes(tmp_path: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed here")
    code = "servecap completion fish | source; complete --do-complete 'servecap size gpu=h10'"
    environment = in_path(tmp_path) | {"HOME": str(tmp_path)}
    done = subprocess.run([fish, "--no-config", "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["gpu=h100"], done.stderr


def test_zsh_completes(tmp_path: Path) -> None:
    """In a real terminal: what follows after the tabulator key is on the line when Enter is pressed."""
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("zsh is not installed here")
    (tmp_path / ".zshrc").write_text(
        'autoload -Uz compinit && compinit -u -D\neval "$(servecap completion zsh)"\nzmodload zsh/zpty\n'
    )
    code = (
        "zmodload zsh/zpty; zpty -b z zsh -i; sleep 2; zpty -w -n z $'echo servecap size gpu=h10'; sleep .2;"
        "zpty -w -n z $'\\C-A\\e[3~\\e[3~\\e[3~\\e[3~\\e[3~\\C-E\\t'; sleep 2; zpty -w -n z $'\\C-Aecho \\n'; sleep 1;"
        "while zpty -r -t z line; do print -r -- $line; done; zpty -d z"
    )
    environment = in_path(tmp_path) | {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "xterm"}
    done = subprocess.run([zsh, "-f", "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "servecap size gpu=h100" in done.stdout, done.stdout + done.stderr
