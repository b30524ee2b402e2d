"""Write ``library_use.ipynb`` from the cells below (the notebook itself holds no output; a test executes its cells)."""

from __future__ import annotations

import json
from pathlib import Path

CELLS = (
    ("markdown", "# servecap as a library\n\nSimulate, summarise, price and compare, in a page of Python. "
                 "No Hydra inside: a scenario is plain data."),
    ("code", "import sim\n\n"
             'scenario = sim.scenario(fleet={"replicas": 1}, workload={"rate_scale": 0.5, "limit": 600})\n'
             "result = sim.simulate(scenario)\n"
             "sim.to_frame(result)[['arrival_s', 'ttft_s', 'tpot_s', 'outcome']].head()"),
    ("markdown", "`summarize` holds a finished run against an SLO; a second question needs no second run."),
    ("code", "summary = sim.summarize(result)\n"
             "strict = sim.summarize(result, slo=sim.Slo(ttft_p95_s=0.1, tpot_p95_s=0.02))\n"
             "summary['slo']['verdict'], strict['slo']['missed_by']"),
    ("markdown", "`price` gives the bill as a tree; each node is the exact sum of its children."),
    ("code", "tree = sim.price(result)\n"
             "{node.name: round(node.usd, 4) for node in tree.find('compute').children}, tree.usd"),
    ("markdown", "Two configurations on the same arrivals: differences with intervals, pair by pair."),
    ("code", "from dataclasses import replace\n\nfrom sim.analysis.compare import compare_requests\n\n"
             "small = replace(scenario, engine=replace(scenario.engine, max_num_seqs=8))\n"
             "differences = compare_requests(result.requests, sim.simulate(small).requests)\n"
             "{d.metric: (round(d.difference, 4), d.words()) for d in differences}"),
    ("markdown", "How far can this p95 be trusted? A moving-block bootstrap over trace time."),
    ("code", "from sim.analysis.intervals import slo_intervals\n\nslo_intervals(result)"),
    ("markdown", "The fewest replicas that meet the SLO, for each batch size; then the cheapest."),
    ("code", "sizing = sim.size(sim.scenario(workload={'limit': 400}), batch_sizes=[32, 64, 128])\n"
             "sim.to_frame(sizing)[['max_num_seqs', 'replicas', 'ttft_p95_s', 'usd_per_1m_output_tokens', 'best']]"),
    ("markdown", "A policy of one's own is a class; here a router that takes the server with the fewest requests, "
                 "the first of equal ones."),
    ("code", "class FewestInFlight:\n    def choose(self, request, servers):\n"
             "        return min(servers, key=lambda server: server.requests_in_flight)\n\n"
             "ours = sim.scenario(fleet={'replicas': 3}, workload={'limit': 300},\n"
             "                    gateway={'router': {'kind': 'plugin', 'name': 'fewest'}})\n"
             "sim.to_frame(sim.simulate(ours, policies={'fewest': FewestInFlight}))['replica'].value_counts()"),
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
