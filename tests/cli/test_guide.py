"""The reading pages: their commands run, their links lead somewhere, what they name exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sim.cli.front.verbs import TAKE_OVERRIDES, own_flags
from sim.cli.front.words import as_overrides
from sim.cli.guide import page, pages
from sim.cli.main import VERBS

TRAFFIC = "arrival_s,input_tokens,output_tokens\n" + "".join(
    f"{i * 0.37:.2f},{100 + i % 40 * 20},{20 + i % 30}\n" for i in range(400)
)


def commands(text: str) -> list[list[str]]:
    """The lines behind ``$`` of the blocks that are run."""
    blocks = re.findall(r"```sh run\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines() if line.startswith("$ ")]


WITH_COMMANDS = [name for name in pages() if commands(page(name))]


def test_ten_commands_are_run() -> None:
    assert sum(len(commands(page(name))) for name in pages()) >= 10


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_the_commands_of_a_page_run(servecap, tmp_path: Path, name: str) -> None:
    (tmp_path / "traffic.csv").write_text(TRAFFIC)
    for program, *line in commands(page(name)):
        assert program == "servecap"
        ended = servecap(*line)
        assert ended.code == 0, (line, ended.err)


def test_the_class_of_the_policy_page_works() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page("own_policy"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "own_policy.md", "exec"), names)
    assert "FewestInFlight" in names


@pytest.mark.parametrize("name", pages())
def test_what_a_page_names_exists(name: str) -> None:
    text = page(name)
    for link in re.findall(r"\]\(([\w./]+)\)", text):
        assert link.removesuffix(".md") in pages(), link
    for line in re.findall(r"servecap ([^`\n]+)", text):
        words = line.split("#")[0].replace("...", "").strip()
        verb, *rest = shlex.split(words) if words.count('"') % 2 == 0 and words.count("'") % 2 == 0 else [words.split()[0]]
        if verb in VERBS and verb in TAKE_OVERRIDES:
            as_overrides(rest, own_flags(verb))  # every flag is known
        else:
            assert verb in VERBS or verb in ("mock]", "--version") or verb.startswith(("[", "-")), line
    assert len(text.splitlines()) <= 60


def test_pages_are_shown_and_found(servecap) -> None:
    assert len(pages()) == 12
    assert servecap("guide").out.startswith("# Guide")
    assert "TTFT" in servecap("guide", "concepts").out
    refused = servecap("guide", "own-gpu-and-models")
    assert refused.code == 2
    assert "did you mean own_gpu_and_model?" in refused.message


def test_the_limits_agree_with_what_was_measured() -> None:
    """Each median and nine-in-ten of the validation page is within what the page on limits promises."""
    measured = Path(__file__).parents[2] / "experiments" / "validation" / "README.md"
    if not measured.is_file():
        pytest.skip("no checkout")
    promised = {
        load: [[float(x) for x in re.findall(r"([\d.]+) %", cell)] for cell in (ttft, rest)]
        for load, ttft, rest in re.findall(r"^\| (below 80 %|80 to 95 %|at or past the knee) \|([^|]+)\|([^|]+)\|", page("limits"), re.M)
    }
    rows = re.findall(r"^\| (idle|20 to 50|50 to 80|80 to 95|at or past)[^|]*\| (ttft|tpot|e2e) \| ([\d.]+) % \| ([\d.]+) %", measured.read_text(), re.M)
    assert len(promised) == 3 and len(rows) >= 12
    for load, metric, median, most in rows:
        key = next((name for name in promised if name.startswith(load)), "below 80 %")
        limits = promised[key][0 if metric == "ttft" else 1]
        assert float(median) <= limits[0], (load, metric)
        assert float(most) <= limits[-1], (load, metric)
