"""``import sim``: a small public face, typed, fast to import, each part with an example that runs."""

from __future__ import annotations

import doctest
import subprocess
import sys
from typing import get_type_hints

import pytest

import sim
from sim.errors import ConfigError
from tests.imports import imported_by

EXAMPLES = ("scenario", "preset_names", "load_trace", "simulate", "summarize", "size", "capacity", "decide", "to_frame")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_function_has_a_runnable_example(name: str) -> None:
    function = getattr(sim, name)
    examples = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert sum(len(found.examples) for found in examples) >= 2
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for found in examples:
        runner.run(found)
    assert runner.failures == 0


def test_everything_offered_is_there_told_and_typed() -> None:
    assert set(sim.__all__) <= set(dir(sim))
    for name in sim.__all__:
        assert (getattr(sim, name).__doc__ or "").strip(), name
    for name in EXAMPLES:
        assert "return" in get_type_hints(getattr(sim, name)), name
    with pytest.raises(AttributeError, match="it offers"):
        sim.simulated  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    heavy, _ = imported_by("import sim", {"numpy", "pandas", "scipy", "pydantic", "simpy", "yaml", "hydra"})
    assert heavy == set()


def test_a_library_that_sizes_does_without_hydra() -> None:
    code = "import sim, sys; sim.scenario(); sim.size; sim.to_frame; sys.exit('hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sizing_two_gpus_says_what_does_not_fit() -> None:
    traffic = {"limit": 200}
    large = sim.scenario(model="llama3_70b", workload=traffic)
    small = sim.scenario(workload=traffic)
    found = sim.size(large, small, batch_sizes=[32])
    assert [row.holds for row in found.rows] == [False, True]
    assert "does not fit" in found.rows[0].reason
    assert found.best is found.rows[1]
    frame = sim.to_frame(found)
    assert list(frame["best"]) == [False, True]
    assert frame["usd_per_1m_output_tokens"].notna().tolist() == [False, True]


def test_a_policy_of_ones_own_is_a_class_of_the_session() -> None:
    class First:
        """Every request to the first server."""

        def choose(self, request, servers):
            return servers[0]

    scenario = sim.scenario(
        workload={"limit": 60}, fleet={"replicas": 3}, gateway={"router": {"kind": "plugin", "name": "first"}}
    )
    result = sim.simulate(scenario, policies={"first": First})
    assert sim.to_frame(result)["replica"].nunique() == 1


def test_refusals_of_the_library_name_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="one scenario or more"):
        sim.size()
    with pytest.raises(ConfigError, match="rate_scale"):
        sim.load_trace("mine.csv", rate_scale=-1.0)
    with pytest.raises(TypeError, match="to_frame takes"):
        sim.to_frame(3)
