"""Damaged traces: never a traceback, never a hang, never accepted and wrong against the strict reader.

200 inputs here; ``HYPOTHESIS_PROFILE=deep`` makes it 2,000 (and ``TRACE_FUZZ_SEED`` others than the first).
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sim.errors import SimError
from sim.workload import read_trace
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import folders, seeds
from tests.fuzz.strict_reader import NoOpinion, Refused, Request, strict

SEEDS = seeds()
INPUTS = 2000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 200
LONGEST_S = 20
MAPS: dict[str, dict[str, Any]] = {
    "mapped_semicolon": {"columns": {"arrival_s": "ts", "input_tokens": "in", "output_tokens": "out"}},
    "mapped_dates": {"columns": {"arrival_s": "ts", "input_tokens": "in", "output_tokens": "out"}},
    "mapped_lines": {"columns": {"arrival_ms": "at.ts", "input_tokens": "in", "output_tokens": "out"}},
}


@contextmanager
def in_time() -> Iterator[None]:
    """Fails what takes longer than ``LONGEST_S``."""

    def late(signum: int, frame: Any) -> None:
        raise BaseExceptionGroup("hangs", [TimeoutError(f"over {LONGEST_S} s")])

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(kind: str, path: Path) -> list[Request] | str:
    """What the program makes of a file: its requests, or its refusal."""
    try:
        with in_time():
            trace = read_trace(path, **MAPS.get(kind, {}))
    except SimError as error:
        assert error.exit_code == 2
        return str(error)
    columns = (trace.arrival_s.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist())
    return list(zip(*columns, strict=True))


def expected(kind: str, content: bytes) -> list[Request] | Refused | None:
    """What the strict reader makes of it; None where it cannot judge."""
    try:
        return strict(kind, content)
    except Refused as refused:
        return refused
    except NoOpinion:
        return None


def same(found: list[Request], wanted: list[Request]) -> bool:
    """Equal requests; their times to a microsecond or what float64 keeps of them."""
    return len(found) == len(wanted) and all(
        abs(a[0] - b[0]) <= max(2e-6, 1e-12 * abs(b[0])) for a, b in zip(found, wanted, strict=True)
    ) and sorted(row[1:] for row in found) == sorted(row[1:] for row in wanted)  # fmt: skip


@pytest.mark.parametrize("kind", SEEDS)
def test_sound_files_are_read(tmp_path: Path, kind: str) -> None:
    name, content = SEEDS[kind]
    (tmp_path / name).write_bytes(content)
    found = read(kind, tmp_path / name)
    assert not isinstance(found, str), found
    wanted = expected(kind, content)
    assert isinstance(wanted, list), wanted
    assert same(found, wanted)


def test_damaged_files_are_read_right_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(int(os.environ.get("TRACE_FUZZ_SEED", "7")))
    kinds = list(SEEDS)
    wrong, refused, sound = [], [], 0
    for number in range(INPUTS):
        kind = kinds[number % len(kinds)]
        name, content = SEEDS[kind]
        content = mutated(content, chance)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(content)
        try:
            found = read(kind, path)
        except BaseExceptionGroup as late:
            wrong.append((path, "hangs", repr(late)))
            continue
        except Exception as error:
            wrong.append((path, "traceback", repr(error)))
            continue
        wanted = expected(kind, content)
        if isinstance(wanted, list):
            sound += 1
            if isinstance(found, str):
                refused.append((path, found))
            elif not same(found, wanted):
                wrong.append((path, "wrong", f"{found[:3]}... {len(found)} instead of {wanted[:3]}... {len(wanted)}"))
        elif isinstance(wanted, Refused) and not isinstance(found, str):
            wrong.append((path, "accepted", f"{len(found)} requests; the strict reader: {wanted}"))
        path.unlink() if not (wrong and wrong[-1][0] == path) and not (refused and refused[-1][0] == path) else None
    for path, *what in (*wrong, *refused):
        print(path, *what)
    assert wrong == []
    assert sound > INPUTS / 8
    assert len(refused) <= max(0.02 * sound, 1), refused


FOLDERS = folders()


@pytest.mark.parametrize("kind", FOLDERS)
def test_damaged_folders_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    main, files = FOLDERS[kind]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert not isinstance(read(kind, tmp_path / main), str)
    chance = random.Random(11)
    for _ in range(INPUTS // 20):
        name = chance.choice(list(files))
        (tmp_path / name).write_bytes(mutated(files[name], chance))
        read(kind, tmp_path / main)
        (tmp_path / name).write_bytes(files[name])
