"""Write ``library_use.ipynb`` from the cells below (the notebook itself holds no output; a test executes its cells)."""

from __future__ import annotations

import json
from pathlib import Path

CELLS = (
    ("markdown", "# servecap as a library\n\nSimulate, summarise, price and compare, in a page of Python. "
                 "No Hydra inside: a scenario is plain data."),
    ("code", "from dataclasses import replace\n\nfrom sim.cli.compose import composed_scenario\n"
             "from sim.run import simulate\n\n"
             'scenario = composed_scenario(["fleet.replicas=1", "workload.rate_scale=0.5", "workload.limit=600"])\n'
             "result = simulate(scenario)\nresult.requests[['arrival_s', 'ttft_s', 'tpot_s', 'outcome']].head()"),
    ("markdown", "`summarize` holds a finished run against an SLO; a second question needs no second run."),
    ("code", "from sim.analysis import summarize\nfrom sim.spec import Slo\n\nsummary = summarize(result)\n"
             "strict = summarize(result, slo=Slo(ttft_p95_s=0.1, tpot_p95_s=0.02))\n"
             "summary['slo']['verdict'], strict['slo']['missed_by']"),
    ("markdown", "`price` gives the bill as a tree; each node is the exact sum of its children."),
    ("code", "from sim.analysis import price\n\ntree = price(result)\n"
             "{node.name: round(node.usd, 4) for node in tree.find('compute').children}, tree.usd"),
    ("markdown", "Two configurations on the same arrivals: differences with intervals, pair by pair."),
    ("code", "from sim.analysis.compare import compare_requests\n\n"
             "small = replace(scenario, engine=replace(scenario.engine, max_num_seqs=8))\n"
             "differences = compare_requests(result.requests, simulate(small).requests)\n"
             "{d.metric: (round(d.difference, 4), d.words()) for d in differences}"),
    ("markdown", "How far can this p95 be trusted? A moving-block bootstrap over trace time."),
    ("code", "from sim.analysis.intervals import slo_intervals\n\nslo_intervals(result)"),
)  # fmt: skip


def notebook() -> dict[str, object]:
    cells: list[dict[str, object]] = []
    for number, (kind, text) in enumerate(CELLS):
        cell: dict[str, object] = {"cell_type": kind, "id": f"cell{number}", "metadata": {}, "source": text}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


if __name__ == "__main__":
    path = Path(__file__).with_name("library_use.ipynb")
    path.write_text(json.dumps(notebook(), indent=1) + "\n", encoding="utf-8")
    print(path)
