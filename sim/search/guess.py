"""What a replica is guessed to sustain, to start searches near their answer: ``sim.analysis.steady``, derated.

A replica on its own has nobody to share a burst with and sustains less than one of a fleet, ``ALONE`` of that again. (The
share was read off the default sweep; it only decides how many runs are needed.)
"""

from __future__ import annotations

from sim.analysis.steady import steady_replica
from sim.perf.steady import POOLED
from sim.spec import Scenario
from sim.workload import Trace

ALONE = 0.78


def pooled_rate_per_s(scenario: Scenario, trace: Trace) -> float:
    """About how many of ``trace``'s requests a second each replica of a fleet serves within the TPOT target."""
    prompt, answer = float(trace.input_tokens.mean()), float(trace.output_tokens.mean())
    return POOLED * steady_replica(scenario, prompt, answer).rate_per_s
