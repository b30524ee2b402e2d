"""Joules add up: over replicas, over time, in the cost tree; and lie between idle boards and their limit."""

from __future__ import annotations

import numpy as np
import pytest

from sim.analysis.cost_tree import price
from sim.analysis.energy import energy_figures, energy_j
from sim.cli.compose import composed_scenario
from sim.perf.power import IDLE
from sim.record import Result
from sim.run import simulate

SHORT = ["workload.limit=150", "fleet.replicas=2", "gpu=h100", "output.report=false"]
BOUGHT = "cost.purchase={machine_usd: 250000, machine_gpus: 8"


def run(*more: str) -> Result:
    return simulate(composed_scenario([*SHORT, *more]))


def test_boards_draw_between_idle_and_their_limit() -> None:
    result = run()
    gpu_s = float((result.replicas["billed_stop_s"] - result.replicas["billed_start_s"]).sum())
    assert IDLE * 700 * gpu_s < energy_j(result) < 700 * gpu_s
    figures = energy_figures(result)
    assert figures["kwh"] == pytest.approx(energy_j(result) / 3.6e6)
    assert figures["joules_per_output_token"] == pytest.approx(energy_j(result) / result.requests["output_tokens"].sum())
    assert figures["co2_g"] == pytest.approx(445 * figures["kwh"])


def test_watts_over_time_are_the_same_joules() -> None:
    series = run("workload.limit=600").timeseries
    widths = np.diff(np.concatenate([[0.0], series["time_s"]]))
    result = run("workload.limit=600")
    assert (series["watts"] * widths).sum() == pytest.approx(energy_j(result), rel=0.02)  # the last second is not sampled
    assert series["watts"].min() >= 2 * IDLE * 700 * 0.999


def test_skipping_steps_draws_the_same() -> None:
    assert energy_j(run("engine.skip_decode=false")) == pytest.approx(
        energy_j(run()), rel=2e-3
    )  # blocks in use: means of runs


def test_an_idle_replica_draws_its_idle_power() -> None:
    one, two = run("fleet.replicas=1"), run("fleet.replicas=1", "fleet.warm_replicas=1")
    assert energy_j(two) > energy_j(one)


def test_a_larger_batch_takes_less_for_a_token() -> None:
    light, heavy = run("workload.rate_scale=0.2"), run("workload.rate_scale=3")
    assert energy_figures(heavy)["joules_per_output_token"] < 0.6 * energy_figures(light)["joules_per_output_token"]


def test_bought_machines_pay_for_what_was_drawn_unless_their_watts_are_stated() -> None:
    drawn = run(BOUGHT + ", pue: 1.2, usd_per_kwh: 0.2, beside_gpus_fraction: 0.5}")
    node = price(drawn).find("power")
    assert node is not None
    assert node.usd == pytest.approx(energy_j(drawn) / 3.6e6 * 1.5 * 1.2 * 0.2)
    assert price(run(BOUGHT + ", machine_w: 8000}")).find("power") is None
    assert price(run()).find("power") is None


def test_a_gpu_without_a_power_limit_has_no_energy() -> None:
    assert np.isnan(energy_j(run("gpu.tdp_w=0")))
