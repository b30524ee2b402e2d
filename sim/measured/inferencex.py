"""InferenceMAX / InferenceX aggregates (``agg_*.json``): vLLM's summary in seconds, a closed loop of ``conc`` users.

``mean_ttft``, ``mean_tpot``, ``mean_e2el``; lengths in ``isl`` and ``osl``, which early files lack: those hold no
operating point. Lengths are drawn between 80 and 100 % of nominal there, so the mean is nine tenths of it.

Source: SemiAnalysisAI/InferenceX, utils/process_result.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields

PRODUCER = "InferenceX"
_MEAN_OF_NOMINAL = 0.9
_REQUESTS_A_USER = 10


def matches(entry: Mapping[str, Any]) -> bool:
    """By hardware, users and throughput a GPU."""
    return {"hw", "conc", "tput_per_gpu"} <= entry.keys()


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The point's means."""
    fields = Fields(source, entry)
    if fields.value("isl") is None or fields.value("osl") is None:
        raise TraceError(
            f"{source}: is an InferenceX aggregate without isl and osl; the result file beside it (without agg_) has lengths"
        )
    users = fields.required("conc")
    return Aggregate(
        source, PRODUCER, max(int(users) * _REQUESTS_A_USER, 1), Load(in_flight=users),
        _MEAN_OF_NOMINAL * fields.required("isl"), _MEAN_OF_NOMINAL * fields.required("osl"),
        ttft_s=fields.number("mean_ttft"), tpot_s=fields.number("mean_tpot"), e2e_s=fields.number("mean_e2el"),
        notes=("lengths of 80 to 100 % of isl and osl, ten requests a user, as its harness sends",),
    )  # fmt: skip
