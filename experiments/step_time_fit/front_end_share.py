"""How much of the front end's delay occupies the API server? What measured TTFT can and cannot tell.

    python experiments/step_time_fit/front_end_share.py ../shared/measured      # front_end_share.csv

Replays the aggregate runs' load stages (the windows of ``fit_host.py``) with the shipped constants and other shares:
all of the delay can be work of one process (1), or hardly any.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from fit_host import Point, aggregate_points

from sim.perf.front_end import FrontEnd
from sim.trust.cases import read_case

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0)


def ttft_error(point: Point, share: float) -> float:
    """Predicted / measured - 1 of the mean."""
    found = point.run(point.time, FrontEnd(busy_share=share))
    return float(np.nanmean(found.ttft_s[point.counted])) / point.ttft_s - 1


def main(folder: Path) -> None:
    cases = [read_case(path.parent) for path in sorted(folder.glob("ip-*/measured.json"))]
    points = [p for case in cases if not case.name.endswith("-reasoning") for p in aggregate_points(case)]
    rows = []
    for share in SHARES:
        errors = np.array([ttft_error(p, share) for p in points])
        rows.append((share, len(points), 100 * np.median(np.abs(errors)), 100 * np.median(errors)))
    table = pd.DataFrame(rows, columns=["busy_share", "stages", "ttft_median_abs_pct", "ttft_median_pct"]).round(2)
    table.to_csv(Path(__file__).parent / "front_end_share.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
