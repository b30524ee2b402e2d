"""Damaged benchmark results, metrics dumps and call logs end in one message with the file, never in a traceback (seeded)."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.errors import SimError
from sim.trust.observations import read_measurements
from sim.workload import read_trace
from tests.unit.measured import reports, test_metrics
from tests.unit.workload import test_call_logs

MUTATIONS = 2000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 200
SEEDS: dict[str, str] = {
    **{name: text for name, (_, text) in reports.REPORTS.items()}, **test_call_logs.DIALECTS,
    "llmperf_responses": json.dumps(reports.LLMPERF_RESPONSES[:4]), "sglang_metrics": test_metrics.SGLANG,
    "vllm_metrics": test_metrics.vllm(600, running=64), "litellm": json.dumps(test_call_logs.SPENT),
    "litellm_table": test_call_logs.table(test_call_logs.SPENT),
    "langfuse": json.dumps([test_call_logs.generation(place) for place in range(3)]),
}  # fmt: skip
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, float("nan"), float("inf"), "x", "", "1_000", "\u0663", [], {}, [1], {"a": 1}, "9" * 400,
    10**30, "2026-13-45T00:00:00Z",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, held in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(held, (*path, key))


def mutated(text: str, rng: random.Random) -> bytes:
    """One value of the JSON replaced or taken away, or bytes changed, cut or doubled."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if document and rng.random() < 0.6:
        path = rng.choice(list(places(document)))
        held = document
        for key in path[:-1]:
            held = held[key]
        if rng.random() < 0.7:
            held[path[-1]] = rng.choice(WRONG)
        else:
            del held[path[-1]]
        return json.dumps(document).encode()
    content = bytearray(text.encode())
    at = rng.randrange(len(content))
    kind = rng.randrange(4)
    if kind == 0:
        content[at] = rng.randrange(256)
    elif kind == 1:
        del content[at : at + rng.randrange(1, 60)]
    elif kind == 2:
        content[at:at] = content[at : at + 40]
    else:
        del content[at:]
    return bytes(content)


@pytest.mark.parametrize("part", range(4))
def test_damage_ends_in_one_message(part: int, tmp_path: Path) -> None:
    rng = random.Random(part)
    for number in range(MUTATIONS // 4):
        name = rng.choice(sorted(SEEDS))
        file = tmp_path / f"{name}.json"
        file.write_bytes(mutated(SEEDS[name], rng))
        for read in (read_trace, lambda path: read_measurements([path])):
            try:
                read(file)
            except SimError as error:
                assert str(file) in str(error), (name, number)
                assert len(str(error)) < 2500, (name, number)
