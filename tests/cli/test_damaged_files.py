"""Files that were written by someone, then damaged: one message that names the file, exit code 2, no traceback.

Seeded: each case replaces one value of a file by something that JSON can hold and the reader did not expect, or cuts it.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.cli.main import main

RECORDED = Path(__file__).parents[1] / "conformance" / "cases"
CASES = int(os.environ.get("SERVECAP_FUZZ", "8"))
"""Mutations of each kind of file; more by hand."""
ODD = (
    math.nan, math.inf, -math.inf, [], [[]], {}, 0, -1, 1e308, 10**400, None, True, "", "NaN", "\x00", "a\nb", [None], {"a": {}}, 0.5,
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every value of ``data``, by the keys that lead to it."""
    yield path
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def mutated(data: Any, random_: random.Random) -> Any:
    data = json.loads(json.dumps(data))
    place = random_.choice(list(places(data)))
    if not place:
        return random_.choice(ODD)
    parent = data
    for key in place[:-1]:
        parent = parent[key]
    if random_.random() < 0.2:
        del parent[place[-1]]
    else:
        parent[place[-1]] = random_.choice(ODD)
    return data


def damaged_text(text: str, random_: random.Random, load: Callable[[str], Any], dump: Callable[[Any], str]) -> bytes:
    how = random_.random()
    if how < 0.8:
        return dump(mutated(load(text), random_)).encode("utf-8", "surrogatepass")
    raw = bytearray(text.encode())
    at = random_.randrange(len(raw))
    if how < 0.87:
        return bytes(raw[:at])
    if how < 0.94:
        raw[at] = random_.randrange(256)
        return bytes(raw)
    return bytes(raw[:at]) + b"[" * 5000 + bytes(raw[at:])


def load_lines(text: str) -> Any:
    return [json.loads(line) for line in text.splitlines()]


def dump_lines(data: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in (data if isinstance(data, list) else [data]))


KINDS = {
    ".json": (json.loads, json.dumps),
    ".yaml": (yaml.safe_load, yaml.safe_dump),
    ".jsonl": (load_lines, dump_lines),
    ".csv": (lambda text: [line.split(",") for line in text.splitlines()], lambda rows: "\n".join(
        ",".join(map(str, row)) if isinstance(row, list) else str(row) for row in (rows if isinstance(rows, list) else [rows])
    )),
}  # fmt: skip


def damage(path: Path, random_: random.Random) -> None:
    load, dump = KINDS[path.suffix]
    path.write_bytes(damaged_text(path.read_text(encoding="utf-8"), random_, load, dump))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    small = ["workload.limit=30", "fleet.replicas=1", "search.one_replica_load=false", "search.max_replicas=4"]
    assert main([*small, f"hydra.run.dir={folder}/run"]) == 0
    assert main(["-m", *small, "seed=1,2", "hydra/launcher=basic", f"hydra.sweep.dir={folder}/sweep"]) in (0, 3)
    shutil.copytree(RECORDED / "s01_plain", folder / "case")
    for name in ("requests", "steps"):
        packed = folder / "case" / f"{name}.jsonl.gz"
        rows = gzip.decompress(packed.read_bytes()).decode().splitlines()
        (folder / "case" / f"{name}.jsonl").write_text("".join(row + "\n" for row in rows[:40]))
        packed.unlink()
    (folder / "spot.json").write_text('{"metadata": {"gap_seconds": 60}, "data": [4, 4, 3, 4, 0, 2]}')
    (folder / "spot.csv").write_text("0,add,a\n1000,add,b\n60000,remove,a\n90000,add,c\n")
    (folder / "hf.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
        "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    }))  # fmt: skip
    return folder


SPOT = ("fleet=spot", "spot=zones", "workload.limit=20", "output.report=false", "hydra.run.dir=out")
COMMANDS = {
    "run/config.yaml": ("report", "run"),
    "run/summary.json": ("report", "run"),
    "run/cost.json": ("report", "run"),
    "run/events.jsonl": ("report", "run"),
    "run/summary.json#compare": ("compare", "run", "run"),
    "sweep/0/job.json": ("report", "sweep"),
    "sweep/0/summary.json": ("report", "sweep"),
    "sweep/1/config.yaml": ("report", "sweep"),
    "sweep/0/search.csv": ("report", "sweep"),
    "sweep/multirun.yaml": ("report", "sweep"),
    "case/case.json": ("conformance", "case"),
    "case/requests.jsonl": ("conformance", "case"),
    "case/steps.jsonl": ("conformance", "case"),
    "case/meta.json": ("conformance", "case"),
    "hf.json": ("calc", "model.hf_config=hf.json"),
    "spot.json": ("run", "spot.hazard={kind: trace, paths: {a: spot.json}}", "fleet.market=spot", *SPOT[2:]),
    "spot.csv": ("run", "spot.hazard={kind: trace, paths: {a: spot.csv}}", "fleet.market=spot", *SPOT[2:]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_file_is_named_or_read(servecap, made: Path, tmp_path: Path, name: str) -> None:
    for case in range(CASES):
        random_ = random.Random(f"{name}-{case}")
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        os.chdir(folder)
        damage(folder / name.partition("#")[0], random_)
        ended = servecap(*COMMANDS[name])
        assert "Traceback" not in ended.err, f"case {case}: {(folder / name.partition('#')[0]).read_bytes()[:2000]!r}"
        assert ended.code in (0, 1, 2, 3), f"case {case}"
        assert ended.code != 1 or name.startswith(("sweep", "case")), f"case {case}: {ended.err}"
        if ended.code == 2:
            assert 0 < len(ended.err) < 4000
