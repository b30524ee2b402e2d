"""The schema that editors read: complete, told, and shipped presets are legal in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import sim.spec
from sim.spec.json_schema import json_schema
from sim.spec.keys import own_keys
from sim.spec.scenario import Scenario

CONFIGS = Path(sim.spec.__file__).parents[2] / "configs"
GROUPS = ("model", "gpu", "engine", "fleet", "autoscaler", "spot", "workload", "gateway", "slo", "cost", "search")


def test_every_key_is_told() -> None:
    schema = json_schema()
    assert set(schema["properties"]) >= {key.key for key in own_keys(Scenario)}
    untold = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if key != "kind" and " Source: " not in value.get("description", "")
    ]
    assert untold == []


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_every_reference_leads_somewhere(group: str) -> None:
    schema = json_schema(group)
    for name in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)):
        assert name in schema["$defs"]


@pytest.mark.parametrize("group", GROUPS)
def test_shipped_presets_are_legal(group: str) -> None:
    validators = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    validator: Any = validators.Draft202012Validator(json_schema(group))
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        errors = [f"{path.name}: {error.message}" for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
        assert errors == []


def test_the_verb(servecap_keys) -> None:
    code, out, _ = servecap_keys("gpu", "--schema", "--json")  # JSON it is without --json as well
    assert code == 0
    assert json.loads(out)["properties"]["bandwidth_gb_s"]["exclusiveMinimum"] == 0
    code, _, err = servecap_keys("gpuu", "--schema")
    assert code == 2
    assert "did you mean gpu?" in err


@pytest.fixture
def servecap_keys(capsys: pytest.CaptureFixture[str]):
    from sim.cli.main import main

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(["keys", *argv])
        out, err = capsys.readouterr()
        return code, out, err

    return run
