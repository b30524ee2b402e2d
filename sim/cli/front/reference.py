"""The keys as ``configs/REFERENCE.md`` tells them: what help, flags and completion know of the schema.

The file is written from the specs and a test keeps it fresh. Reading it takes a few milliseconds, importing the specs a
third of a second, which a shell that waits for a completion does not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class KeyRow:
    """A row of the reference."""

    key: str
    kinds: str
    type: str
    unit: str
    default: str
    legal: str
    meaning: str

    @property
    def choices(self) -> list[str]:
        """The legal values, where they can be listed."""
        values = self.legal.removeprefix("kind: ").split(" | ")
        return values if len(values) > 1 and all(re.fullmatch(r"[\w.]+", value) for value in values) else []

    @property
    def boolean(self) -> bool:
        """Whether it is true or false."""
        return self.type == "bool"

    @property
    def switches_off(self) -> bool:
        """Whether it may be false; ``boolean`` or something else beside."""
        return self.type.split(" or ")[0] == "bool"

    @property
    def holds_keys(self) -> bool:
        """Whether it is a place, not a value."""
        return self.unit.startswith("none: holds keys")


@cache
def reference_rows() -> tuple[KeyRow, ...]:
    """Every row, in the reference's order."""
    text = (resources.files("sim.configs") / "REFERENCE.md").read_text(encoding="utf-8")
    rows, place = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            place = "" if line == "## Top level" else f"{line[3:]}."
        elif line.startswith("| `"):
            cells = [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]
            name, kinds, kind_of_value, unit, default, legal, meaning, *_ = cells
            rows.append(KeyRow(place + name.strip("`"), kinds, kind_of_value, unit, default.strip("`"), legal, meaning))
    return tuple(rows)


@cache
def plain_keys() -> dict[str, KeyRow]:
    """The keys that one states with a single value: no names or places of the user's own in them, none that hold keys."""
    rows = [row for row in reference_rows() if not re.search(r"\.(NAME|N)(\.|$)", row.key)]
    return {row.key: row for row in reversed(rows) if not row.holds_keys or row.choices}
