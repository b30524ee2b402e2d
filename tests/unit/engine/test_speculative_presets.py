"""The acceptance presets: rates that do not increase and give the published acceptance lengths back."""

from __future__ import annotations

import re

import pytest
import yaml

from sim.spec.speculative import SpeculativeSpec, rates_of
from tests.presets import CONFIGS, names


@pytest.mark.parametrize("name", [name for name in names("speculative") if name != "none"])
def test_the_published_lengths_come_back(name: str) -> None:
    text = (CONFIGS / "speculative" / f"{name}.yaml").read_text()
    spec = SpeculativeSpec(**yaml.safe_load(text)["speculative"])
    said = " ".join(line[2:] for line in text.splitlines() if line.startswith("# ") and not line.startswith("# @"))
    published = [float(number) for number in re.search(r"acceptance lengths? ([\d., ]+) at 1 (?:to 8|draft)", said)[1].split(", ")]  # type: ignore[index]
    assert spec.method is not None and "read 2026-11" in spec.acceptance.source
    for drafts, length in enumerate(published, 1):
        ours = 1 + sum(rates_of(spec.acceptance, spec.method, drafts))
        assert ours == pytest.approx(max(published[:drafts]), abs=0.2), length  # noise: published curves fall in places
