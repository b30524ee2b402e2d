"""Makes what the README shows: the real output of the default sweep and its picture.

    python experiments/readme/make.py

Runs `python -m sim -m engine.max_num_seqs=8,16,32,64,128,256`, writes frontier.svg beside this file and puts the printed
table and answer into README.md between its first pair of code fences.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from sim.cli.sweep import axes_of, best_job, frontier_row, read_jobs
from sim.report.chart import svg
from sim.report.frontier import cheapest, cost_chart

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
COMMAND = ["-m", "sim", "-m", "engine.max_num_seqs=8,16,32,64,128,256"]


def standalone(picture: str) -> str:
    """The page's picture with the page's own style inside, light or dark as the reader's browser is."""
    css = (HERE.parents[1] / "sim" / "report" / "page.css").read_text()
    start = picture.index(">") + 1
    ground = '<rect width="100%" height="100%" fill="var(--ground)"/>'
    return f"{picture[:start]}<style>{css} svg {{ font-family: sans-serif }}</style>{ground}{picture[start:]}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep"
        done = subprocess.run(
            [sys.executable, *COMMAND, f"hydra.sweep.dir={sweep}"], capture_output=True, text=True, check=True, cwd=folder
        )
        jobs = read_jobs(sweep)
        best_job(jobs)
        rows = [frontier_row(job, axes_of(jobs)) for job in jobs]
    (HERE / "frontier.svg").write_text(standalone(svg(cost_chart(rows, cheapest(rows)))) + "\n")
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip() and not line.startswith("Written to")]
    lines = lines[next(i for i, line in enumerate(lines) if "TTFT s" in line) :]
    block = "\n".join(lines)
    readme = README.read_text()
    README.write_text(re.sub(r"```\n.*?\n```", lambda _: f"```\n{block}\n```", readme, count=1, flags=re.DOTALL))


if __name__ == "__main__":
    main()
