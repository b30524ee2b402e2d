"""A machine of one's own as a price an hour: what it costs to have, whether or not it is used.

    $ a machine-hour = price / (years x 8,760 h) + W / 1000 x PUE x $ per kWh + hosting a month / 730 h
    $ a GPU-hour     = that x (1 - share that others use and pay) / GPUs

The power is stated, or left out here and taken from the run (``sim.analysis.energy``). Left out: interest, resale, spare
parts, staff (``cost.engineers_fte``).
"""

from __future__ import annotations

from dataclasses import replace

from sim.spec import GpuSpec, Scenario
from sim.spec.cost import PurchaseSpec
from sim.units import HOURS_PER_MONTH

HOURS_PER_YEAR = 8760.0


def purchase_parts(purchase: PurchaseSpec) -> dict[str, float]:
    """US$ a machine-hour by part; no power where it is not stated."""
    return {
        "amortisation": purchase.machine_usd / (purchase.years * HOURS_PER_YEAR),
        "power": (purchase.machine_w or 0.0) / 1000 * purchase.pue * purchase.usd_per_kwh,
        "hosting": purchase.hosting_usd_per_month / HOURS_PER_MONTH,
    }


def usd_per_owned_gpu_hour(purchase: PurchaseSpec) -> float:
    """US$ a GPU-hour of the share that is one's own."""
    return sum(purchase_parts(purchase).values()) * (1 - purchase.used_elsewhere_fraction) / purchase.machine_gpus


def purchase_words(purchase: PurchaseSpec) -> str:
    """The arithmetic, in one line."""
    parts = purchase_parts(purchase)
    stated = f"{purchase.machine_w:,.0f} W" if purchase.machine_w is not None else "power as simulated,"
    power = f"{stated} x {purchase.pue:g} x ${purchase.usd_per_kwh:g}/kWh"
    if purchase.machine_w is not None:
        power += f" ${parts['power']:.3f}/h"
    shared = f" x {1 - purchase.used_elsewhere_fraction:.0%} of its time" if purchase.used_elsewhere_fraction else ""
    amortised = f"${purchase.machine_usd:,.0f} over {purchase.years:g} years ${parts['amortisation']:.3f}/h"
    return (
        f"purchase: {amortised} + {power} + hosting ${parts['hosting']:.3f}/h = ${sum(parts.values()):.3f} a machine-hour"
        f"{shared} / {purchase.machine_gpus} GPUs"
    )


def with_purchase(scenario: Scenario) -> Scenario:
    """``scenario`` with its own GPU at the price of ``cost.purchase``, on every market; itself without one. Pools that name
    another GPU keep theirs."""
    purchase = scenario.cost.purchase
    if purchase is None:
        return scenario
    return replace(scenario, gpu=_owned(scenario.gpu, purchase))


def _owned(gpu: GpuSpec, purchase: PurchaseSpec) -> GpuSpec:
    usd = usd_per_owned_gpu_hour(purchase)
    price = replace(
        gpu.price, on_demand_usd_per_hour=usd, reserved_usd_per_hour=usd, instance_gpus=purchase.machine_gpus,
        source=purchase_words(purchase),
    )  # fmt: skip
    return replace(gpu, price=price)
