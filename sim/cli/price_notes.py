"""What a sweep's prices rest on, in one line a GPU: the price, its source and date, and a warning when it is old.

Read back from the jobs' ``config.yaml``, like everything at the end of a sweep. Leaves out the API's prices, which are
stated on the run page.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from sim.cli.plain_yaml import read_plain_yaml
from sim.cost.prices import stated_price_warning
from sim.report.scale import number


def price_notes(folders: Iterable[Path], today: date) -> list[str]:
    """One note for each differing price among the job ``folders``, in their order; ``today`` decides what is old."""
    notes: dict[str, None] = {}
    for folder in folders:
        path = folder / "config.yaml"
        if path.is_file():
            gpu = read_plain_yaml(path)["gpu"]
            notes[_note(gpu["name"], gpu["price"], today)] = None
    return list(notes)


def _note(name: str, price: dict[str, object], today: date) -> str:
    stated = [
        f"${number(float(str(usd)))} {market.replace('_', ' ')}"
        for market in ("on_demand", "spot")
        if (usd := price.get(f"{market}_usd_per_hour")) is not None
    ]
    day = str(price.get("date") or "")
    warning = stated_price_warning(name, day, today)
    text = f"Price of {name}: {', '.join(stated)} a GPU-hour; {price.get('source') or 'no source stated'}"
    return text + (f" ({day})." if day else ".") + (f" Note: {warning}." if warning else "")
