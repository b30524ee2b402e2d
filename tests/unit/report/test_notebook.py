from __future__ import annotations

import json
import math
from pathlib import Path

NOTEBOOK = Path(__file__).parents[3] / "experiments" / "notebook" / "library_use.ipynb"


def test_the_notebook_runs_from_top_to_bottom() -> None:
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], NOTEBOOK.name, "exec"), names)
    summary, tree, differences = names["summary"], names["tree"], names["differences"]
    assert summary["slo"]["holds"]
    assert names["strict"]["slo"]["verdict"] == "fail"
    assert math.isclose(summary["cost"]["total_usd"], tree.usd)
    assert all(difference.paired for difference in differences)
