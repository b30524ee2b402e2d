"""The table of claims, ``results.csv`` and the same in the README between its two marks."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import BEGIN, END, put_between  # noqa: E402

Row = tuple[str, str, str, str]
"""Claim, verdict, what was found, command."""
HEAD: Row = ("claim", "verdict", "found", "command")


def read_rows() -> list[Row]:
    """The rows as they are committed."""
    with (HERE / "results.csv").open(encoding="utf-8", newline="") as file:
        return [(row["claim"], row["verdict"], row["found"], row["command"]) for row in csv.DictReader(file)]


def leave_rows(rows: Sequence[Row]) -> None:
    """Write both."""
    with (HERE / "results.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])
    lines = ["| claim | verdict | found |", "|---|---|---|", *(readme_line(row) for row in rows)]
    put_between(HERE / "README.md", BEGIN, END, "\n".join(lines))


def readme_line(row: Row) -> str:
    """A row of the README: an experiment of its own is named behind what was found."""
    claim, verdict, found, command = row
    name = command.split("/")[1] if command.startswith("python experiments/") else ""
    source = f" (`{name}`)" if name not in ("", "claims") else ""
    return f"| {claim} | {verdict} | {found}{source} |".replace("\n", " ")
