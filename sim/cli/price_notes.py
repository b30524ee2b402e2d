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
    usd = price.get("on_demand_usd_per_hour")
    spot = price.get("spot_usd_per_hour")
    stated = [f"${usd} on demand" if usd is not None else "", f"${spot} spot" if spot is not None else ""]
    day = str(price.get("date") or "")
    warning = stated_price_warning(name, day, today)
    text = f"Price of {name}: {', '.join(filter(None, stated))} a GPU-hour; {price.get('source') or 'no source stated'}"
    return text + (f" ({day})." if day else ".") + (f" Note: {warning}." if warning else "")
