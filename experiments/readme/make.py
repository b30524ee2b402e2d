"""Makes what the README shows: the real output of the default sweep and its picture.

    python experiments/readme/make.py

Runs `python -m sim -m engine.max_num_seqs=8,16,32,64,128,256`, writes cost.svg (and p95.svg, load.svg) beside this file and
puts the printed table and answer into README.md between its first pair of code fences.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from sim.report.pictures import main as write_pictures

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
COMMAND = ["-m", "sim", "-m", "engine.max_num_seqs=8,16,32,64,128,256"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "sweep"
        done = subprocess.run(
            [sys.executable, *COMMAND, f"hydra.sweep.dir={sweep}"], capture_output=True, text=True, check=True, cwd=folder
        )
        write_pictures([str(sweep), str(HERE)])
    lines = [line.rstrip() for line in done.stdout.splitlines() if line.strip() and not line.startswith("Written to")]
    lines = lines[next(i for i, line in enumerate(lines) if "TTFT s" in line) :]
    block = "\n".join(lines)
    readme = README.read_text()
    README.write_text(re.sub(r"```\n.*?\n```", lambda _: f"```\n{block}\n```", readme, count=1, flags=re.DOTALL))


if __name__ == "__main__":
    main()
