"""Four set-ups of one published test: ``python experiments/disaggregation/moriio.py`` (two minutes); prints a table.

Qwen3-235B-A22B-FP8 on eight MI300X, 100 requests of 2,000 tokens in and 1,000 out. A request is within the objective when its
first token comes within 1 s and 99 % of its gaps between tokens are below 50 ms: the published sweep of 2 x TP4 (all requests
at 0.5 a second, 60 % at 1, a quarter from 2 on) is that of the share of requests that meet fewer than ten prefill steps, and
fits neither their mean nor their longest gap. One multiplier on all parts of a step is fitted to that sweep; the four set-ups
at 8 requests a second follow from it.

Source: vLLM blog 2026-04-07, "Next-Level Inference: Why Your Single-Node vLLM Setup Needs Prefill-Decode Disaggregation"
(AMD and Embedded LLM), whose appendix has the command lines: vLLM 0.16, expert parallelism everywhere, no prefix cache, token
budgets of 8,192 (whole) and 4,096 (apart), replicas in turn. Apart it also states 64 sequences, which the published sweep
contradicts: at its 30 ms a token an answer takes 30 s, so of 100 requests that come within 20 s 36 would wait for a seat, yet
all were within the objective. Seats do not bind here; what 64 would give is printed beside. Not stated there, assumed: Poisson
arrivals, KV over the NICs as in ``kv_transfer=mooncake_400gbe``, experts chosen as unevenly as
``engine.expert_imbalance_alpha`` says by default.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from sim.cli.compose import composed_scenario
from sim.run import simulate
from sim.workload import Trace

REQUESTS, PROMPT, ANSWER = 100, 2000, 1000
TTFT_S, GAP_S, GAP_QUANTILE = 1.0, 0.05, 0.99
SEEDS = range(5)

SERVER = (
    "model=qwen3_235b_a22b", "model.weight_dtype=fp8", "gpu=mi300x", "engine.version='0.16'", "engine.max_model_len=16384",
    "engine.enable_expert_parallel=true", "engine.enable_prefix_caching=false", "kv_transfer=mooncake_400gbe",
)  # fmt: skip
WHOLE = ("engine.max_num_batched_tokens=8192", "gateway.router={kind: round_robin}")
APART = ("engine.max_num_batched_tokens=4096", "engine.tensor_parallel_size=4", "fleet=disaggregated")
SEATS = "engine.max_num_seqs=64"
SETUPS: dict[str, tuple[float, tuple[str, ...]]] = {
    "1 x TP8": (0.26, (*WHOLE, "fleet.replicas=1", "engine.tensor_parallel_size=8")),
    "2 x TP4": (0.30, (*WHOLE, "fleet.replicas=2", "engine.tensor_parallel_size=4")),
    "1P + 1D, TP4, read": (0.70, (*APART, "gateway.disaggregation={kind: always, protocol: pull}")),
    "1P + 1D, TP4, write": (0.73, (*APART, "gateway.disaggregation={kind: always, protocol: push}")),
}
"""Share within the objective at 8 requests a second, and how it is configured."""

SWEEP_2TP4: dict[float, float] = {0.5: 1.0, 1.0: 0.6, 2.0: 0.25, 4.0: 0.25}
"""Requests a second -> share within the objective, of 2 x TP4."""

SWEEP_READ: dict[float, float] = {5.0: 1.0, 8.0: 0.70, 10.0: 0.44}
SWEEP_WRITE: dict[float, float] = {5.5: 1.0, 8.0: 0.73, 10.0: 0.46}
MULTIPLIERS = tuple(round(0.9 + 0.05 * step, 2) for step in range(11))


def arrivals(rate_per_s: float, seed: int) -> Trace:
    """Poisson, from 0."""
    gaps_s = np.random.default_rng(seed).exponential(1 / rate_per_s, REQUESTS)
    return Trace(np.cumsum(gaps_s) - gaps_s[0], np.full(REQUESTS, PROMPT), np.full(REQUESTS, ANSWER))


def share_within(setup: Sequence[str], rate_per_s: float, multiplier: float) -> float:
    """Mean over seeds of the share of requests within the objective."""
    scale = f"gpu.step_time_scale={{compute: {multiplier}, memory: {multiplier}, host: {multiplier}}}"
    scenario = composed_scenario([*SERVER, scale, "slo=none", "output.steps=true", "output.timeseries=false", *setup])
    return float(np.mean([_share(simulate(scenario, arrivals(rate_per_s, seed))) for seed in SEEDS]))


def _share(result: object) -> float:
    requests, steps = result.requests, result.steps  # type: ignore[attr-defined]
    within = 0
    for name, rows in requests.groupby(requests["replica"].astype(str)):
        ends_s = np.sort(steps["end_s"].to_numpy()[steps["replica"].astype(str).to_numpy() == name])
        for request in rows.itertuples():
            first, last = np.searchsorted(ends_s, [request.first_token_s - 1e-9, request.finish_s + 1e-9])
            gap_s = np.quantile(np.diff(ends_s[first:last]), GAP_QUANTILE)
            within += bool(request.ttft_s < TTFT_S and gap_s < GAP_S)
    return within / len(requests)


def main() -> None:
    whole = SETUPS["2 x TP4"][1]
    misfit = {}
    for multiplier in MULTIPLIERS:
        found = {rate: share_within(whole, rate, multiplier) for rate in SWEEP_2TP4}
        misfit[multiplier] = float(np.mean([abs(found[rate] - share) for rate, share in SWEEP_2TP4.items()]))
        shares = ", ".join(f"{rate:g}/s {100 * share:.0f} %" for rate, share in found.items())
        sys.stdout.write(f"multiplier {multiplier}: {shares}; mean miss {100 * misfit[multiplier]:.1f} points\n")
    best = min(misfit, key=lambda multiplier: misfit[multiplier])
    sys.stdout.write(f"fitted multiplier: {best}\n\nset-up               measured  predicted  miss, points\n")
    for name, (measured, setup) in SETUPS.items():
        found = share_within(setup, 8.0, best)
        sys.stdout.write(f"{name:20} {100 * measured:7.0f} % {100 * found:8.0f} % {100 * abs(found - measured):9.0f}\n")
    for name, sweep in (("1P + 1D, TP4, read", SWEEP_READ), ("1P + 1D, TP4, write", SWEEP_WRITE)):
        for rate, measured in sweep.items():
            found, seated = (share_within((*SETUPS[name][1], *seats), rate, best) for seats in ((), (SEATS,)))
            sys.stdout.write(
                f"{name} at {rate:g}/s: {100 * measured:.0f} % measured, {100 * found:.0f} % predicted, "
                f"{100 * seated:.0f} % with 64 sequences\n"
            )


if __name__ == "__main__":
    main()
