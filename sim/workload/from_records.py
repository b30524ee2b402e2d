"""From a run's records back to a trace: run = replay.

The trace holds what the records tell: arrival, lengths, labels, sessions. Shared prefixes and block hashes are not
in the records, so a run that reused them replays without that reuse. A request that was not answered in full has the
tokens it got, at least one, since nobody knows the rest; ``provenance["unanswered"]`` counts them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.errors import TraceError
from sim.workload.trace import Trace

_TEXT = ("route", "feature", "tenant", "session_id")
REPLAYED = ("arrival_s", "input_tokens", "output_tokens", "outcome", "turn", *_TEXT)
"""The columns of a run's records that a replay needs."""


def trace_from_requests(requests: pd.DataFrame) -> Trace:
    """The trace whose replay gives ``requests`` (``Result.requests`` or ``requests.parquet``) again.

    Raises:
        TraceError: a column is missing, or there is no row.
    """
    needed = ("arrival_s", "input_tokens", "output_tokens")
    missing = [name for name in needed if name not in requests]
    if missing:
        raise TraceError(f"requests lack column {', '.join(missing)}; needed are {', '.join(needed)}")
    if not len(requests):
        raise TraceError("requests hold no row; expected at least one")
    ordered = requests.sort_values("arrival_s", kind="stable")
    labels: dict[str, np.ndarray] = {}
    for name in _TEXT:
        if name in ordered:
            column = ordered[name].astype(object).fillna("").to_numpy(dtype=object)
            if (column != "").any():
                labels[name] = column
    if "session_id" in labels and "turn" in ordered:
        labels["turn"] = ordered["turn"].fillna(-1).to_numpy(dtype=np.int64)
    answered = ordered["output_tokens"].fillna(0).to_numpy(dtype=np.int64)
    unanswered = int((~ordered["outcome"].isin(["completed", "escalated"])).sum()) if "outcome" in ordered else 0
    return Trace(
        ordered["arrival_s"].to_numpy(dtype=np.float64), ordered["input_tokens"].to_numpy(dtype=np.int64),
        np.maximum(answered, 1), labels, provenance={"format": "records", "unanswered": unanswered},
    )  # fmt: skip
