"""What a run drew, in one line; page and terminal print the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report.scale import number


def energy_words(energy: Mapping[str, Any] | None) -> str:
    """kWh, mean power, joules a token and CO2; empty where no GPU ran or none states a power limit."""
    if not energy or energy["kwh"] is None:
        return ""
    each = energy["joules_per_output_token"]
    per_token = f", {number(each)} J an output token" if each is not None else ""
    return (
        f"{number(energy['kwh'])} kWh of the GPUs ({number(energy['watts_mean'] / 1000)} kW on average){per_token}, "
        f"{number(energy['co2_g'] / 1000)} kg CO2 at {number(energy['co2_g_per_kwh'])} g/kWh"
    )
