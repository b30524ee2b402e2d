"""Traces put together in order of arrival."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.workload.trace import Trace, missing_column


def merged(parts: Sequence[Trace]) -> Trace:
    """All requests of ``parts`` in order of arrival, ties in the order of ``parts``; labels a part lacks are empty."""
    names = sorted({name for part in parts for name in part.labels})
    arrival_s = np.concatenate([part.arrival_s for part in parts])
    order = np.argsort(arrival_s, kind="stable")
    labels = {
        name: np.concatenate([
            part.labels[name] if name in part.labels else missing_column(name, len(part)) for part in parts
        ])[order]
        for name in names
    }  # fmt: skip
    return Trace(
        arrival_s[order],
        np.concatenate([part.input_tokens for part in parts])[order],
        np.concatenate([part.output_tokens for part in parts])[order],
        labels, parts[0].block_tokens, parts[0].provenance,
    )  # fmt: skip
