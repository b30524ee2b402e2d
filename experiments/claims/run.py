"""Put the claims of capacity reviews to the test: ``python experiments/claims/run.py``; writes ``results.csv`` and the
README's table.

Each row is a claim, what came out, and the verdict: reproduced, refuted or conditional. "Capacity" is the highest load
that a fleet sustains within the SLO ``chat`` on the packaged chat trace, found to 2 % (its interval: the bracket's
width); dollars are compute only, per million output tokens. Claims with an experiment of their own are read from its
committed results (``recorded.py``).
"""

from __future__ import annotations

import functools
import sys
from dataclasses import replace

from recorded import recorded_rows
from table import Row, leave_rows

from sim.cli.compose import composed_scenario
from sim.cost import cost_per_1m_usd
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.capacity_curve import CapacityCurve
from sim.cost.prices import api_price
from sim.perf import kv_bytes_per_token, memory_plan, resolve_engine
from sim.search import Answer, solve
from sim.spec import GeneratorSpec, Scenario
from sim.spec.workload import GammaArrivals, LognormalLengths, PoissonArrivals
from sim.units import DAYS_PER_MONTH

FOUND_TO = 1.02
"""The search's bracket: the load named held, this many times it did not (``search.load_tolerance``)."""
ROWS: list[Row] = []


def say(claim: str, verdict: str, found: str, command: str = "python experiments/claims/run.py") -> None:
    ROWS.append((claim, verdict, found, command))
    print(f"[{verdict}] {claim}: {found}", flush=True)


@functools.cache
def capacity(*overrides: str) -> Answer:
    return solve(composed_scenario(["output.timeseries=false", "fleet.replicas=1", *overrides]), "load")


def shown(answer: Answer) -> str:
    rate, usd = answer.point.output_tokens_per_s, answer.point.usd_per_1m_output_tokens
    return f"{rate:,.0f} to {rate * FOUND_TO:,.0f} output tok/s, ${usd / FOUND_TO:.3g} to ${usd:.3g} per 1M"


def tpot_ms(answer: Answer) -> float:
    return float(answer.summary["latency"]["tpot_s"]["p95"]) * 1e3


def command(*overrides: str) -> str:
    return " ".join(["servecap capacity fleet.replicas=1", *overrides])


def ballparks() -> None:
    l40s = capacity("gpu=l40s")
    rate, usd = l40s.point.output_tokens_per_s, l40s.point.usd_per_1m_output_tokens
    total = rate + l40s.summary["throughput"]["input_tokens_per_s"]
    inside = 0.20 <= usd <= 0.50
    say(
        "7-8B on L40S at $1.2-1.8/h: 1.2-2.0k tok/s, $0.20-0.50",
        "conditional" if not 1200 <= rate <= 2000 else "reproduced",
        f"{shown(l40s)}; {total:,.0f} tok/s with prompts; dollars {'inside' if inside else 'outside'} the range. The "
        "rate depends on the prompts (mean prompt five times the mean answer here)",
        command("gpu=l40s"),
    )
    a100 = capacity("gpu=a100_80")
    rate = a100.point.output_tokens_per_s
    say(
        "7-8B on A100-80 at $3-4/h: 1.8-3.0k tok/s, $0.25-0.75",
        "reproduced" if 1800 <= rate <= 3000 else "conditional",
        shown(a100),
        command("gpu=a100_80"),
    )
    h100 = capacity("model=llama3_70b", "gpu=h100", "engine.tensor_parallel_size=8")
    rate = h100.point.output_tokens_per_s
    low, high = cost_per_1m_usd(80, 1600), cost_per_1m_usd(120, 900)
    say(
        "70B on 8xH100 at $80-120/h: 0.9-1.6k tok/s, $50-130",
        "refuted",
        f"the claim contradicts itself: its own rate and price give ${low:.1f}-{high:.1f}; simulated at the preset's "
        f"price {shown(h100)}, at $96/h ${cost_per_1m_usd(96, rate):.2f}",
        command("model=llama3_70b", "gpu=h100", "engine.tensor_parallel_size=8"),
    )


def synthetic(cv: float) -> Scenario:
    base = composed_scenario(["gpu=a100_80", "output.timeseries=false", "workload.rate_scale=1", "fleet.replicas=1"])
    arrivals = PoissonArrivals(rate_per_s=8.0) if cv == 1 else GammaArrivals(rate_per_s=8.0, cv=cv)
    lengths = {
        "input_tokens": LognormalLengths(mu=6.4, sigma=1.0, max_tokens=8000),
        "output_tokens": LognormalLengths(mu=5.0, sigma=0.7, max_tokens=1500),
    }
    generator = GeneratorSpec(arrivals=arrivals, duration_s=600.0, **lengths)
    return replace(base, workload=replace(base.workload, packaged=None, generator=generator, name=f"gamma_cv_{cv:g}"))


def traffic() -> None:
    steady, spiky = (solve(synthetic(cv), "load").point for cv in (1.0, 6.0))
    ratio = steady.output_tokens_per_s / spiky.output_tokens_per_s
    say(
        "spiky traffic halves the rate and doubles the cost",
        "reproduced" if 1.7 <= ratio <= 2.5 else "conditional",
        f"Gamma arrivals with cv 6 against Poisson, A100-80: capacity falls {ratio:.2f} times "
        f"({steady.output_tokens_per_s:,.0f} to {spiky.output_tokens_per_s:,.0f} tok/s), dollars rise "
        f"{spiky.usd_per_1m_output_tokens / steady.usd_per_1m_output_tokens:.2f} times",
    )
    costs = [capacity(f"engine.max_num_seqs={cap}").point.usd_per_1m_output_tokens for cap in (8, 16, 32, 64, 128, 256)]
    say(
        "maximise the batch until p95 meets the SLO, then stop; cost per 1M is convex there",
        "conditional",
        "US$ per 1M at caps 8 16 32 64 128 256: " + " ".join(f"{usd:.2f}" for usd in costs) + "; falls, then flat once "
        "the cap no longer binds. At a fixed fleet and load dollars do not move with the cap",
        "servecap size",
    )


def memory() -> None:
    base = ["model=llama2_7b", "gpu=l40s", "engine.max_model_len=4096"]
    plans = {}
    for name, more in {
        "bf16": [], "int8 weights": ["model.weight_dtype=int8"], "fp8 KV": ["engine.kv_cache_dtype=fp8"],
    }.items():  # fmt: skip
        scenario = composed_scenario([*base, *more])
        plans[name] = memory_plan(
            scenario.model, scenario.gpu, resolve_engine(scenario.engine, scenario.model, scenario.gpu)
        )
    model = composed_scenario(base).model
    per_token = kv_bytes_per_token(model)
    share = plans["bf16"].kv_pool_bytes / plans["bf16"].device_bytes
    say(
        "KV cache, not weights, is what long context eats; quantising weights does not shrink it",
        "reproduced",
        f"7B, multi-head: {per_token:,.0f} bytes a token, {per_token * 8192 / 1e9:.2f} GB a stream at 8k; int8 weights "
        f"leave bytes a token as they are and only free memory for more tokens ({plans['bf16'].kv_tokens:,} to "
        f"{plans['int8 weights'].kv_tokens:,} on L40S, where KV is {share:.0%} of the memory)",
        "servecap calc model=llama2_7b gpu=l40s",
    )
    plain, fp8 = capacity("gpu=l40s"), capacity("gpu=l40s", "engine.kv_cache_dtype=fp8")
    gain = fp8.point.output_tokens_per_s / plain.point.output_tokens_per_s
    say(
        "KV in fp8 is still big",
        "reproduced",
        f"half the bytes: {plans['fp8 KV'].kv_tokens / plans['bf16'].kv_tokens:.2f} times the tokens fit; 8k of a 7B take "
        "still "
        f"{per_token * 8192 / 2e9:.2f} GB. Capacity of 8B on L40S changes {gain:.2f} times, as steps read half the KV",
        command("gpu=l40s", "engine.kv_cache_dtype=fp8"),
    )


def parallelism() -> None:
    four = capacity("gpu=a100_80", "fleet.replicas=4")
    sharded = capacity("gpu=a100_80", "engine.tensor_parallel_size=4")
    ratio = four.point.output_tokens_per_s / sharded.point.output_tokens_per_s
    say(
        "single GPU for 7-13B to avoid tensor-parallel overhead",
        "reproduced" if ratio > 1.02 else "refuted",
        f"8B on four A100: 4 x TP1 {four.point.output_tokens_per_s:,.0f} tok/s, TP4 "
        f"{sharded.point.output_tokens_per_s:,.0f} tok/s ({ratio:.2f} times) within the SLO; TP4's TPOT p95 "
        f"{tpot_ms(sharded):.0f} ms against {tpot_ms(four):.0f} ms",
        command("gpu=a100_80", "engine.tensor_parallel_size=4"),
    )


def links() -> None:
    base = ("model=llama3_70b", "gpu=h100", "engine.tensor_parallel_size=4")
    pcie = ("gpu.link=pcie", "gpu.link_gb_s_per_direction=55")
    fast, slow = capacity(*base, "engine.step_time=roofline"), capacity(*base, "engine.step_time=roofline", *pcie)
    ratio = fast.point.output_tokens_per_s / slow.point.output_tokens_per_s
    say(
        "NVLink for 70B",
        "reproduced" if ratio > 1.1 else "conditional",
        f"TP4 on H100 within the SLO, both by the roofline: NVLink {fast.point.output_tokens_per_s:,.0f} tok/s, PCIe 5 "
        f"{slow.point.output_tokens_per_s:,.0f} ({ratio / FOUND_TO:.2f} to {ratio * FOUND_TO:.2f} times), TPOT p95 "
        f"{tpot_ms(fast):.0f} against {tpot_ms(slow):.0f} ms",
        command(*base, *pcie),
    )


def volumes() -> None:
    answer = capacity("gpu=l40s")
    tokens = answer.summary["tokens"]
    for provider, model in (("groq", "llama-3.1-8b-instant"), ("together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo")):
        api = api_price(provider, model)
        each_tokens = answer.summary["cost"]["window"]["output_tokens_per_day"]
        numbers = Economics(
            capacity=CapacityCurve.of([(1, each_tokens)]),
            usd_per_gpu_hour=answer.point.usd_per_hour,
            on_top_fraction=0.3,
            input_per_output=tokens["input"] / tokens["output"],
            api_input_usd_per_1m=api.input_usd_per_1m,
            api_output_usd_per_1m=api.output_usd_per_1m,
        )
        volume = break_even_tokens_per_day(numbers)
        needs = []
        for used in (0.2, 0.4, 0.6, 0.8):
            needs.append(f"{used:.0%} ${numbers.usd_per_gpu_hour * 24e6 / each_tokens / used * 1.3:.2f}")
        api_usd = numbers.api_usd_per_month(1e6) / DAYS_PER_MONTH
        say(
            f"self-hosting pays at 60-80 % utilisation (against {provider})",
            "reproduced" if volume is not None else "refuted",
            f"US$ per 1M output tokens at home with 30 % overhead by utilisation: {', '.join(needs)}; the API with its "
            f"prompts ${api_usd:.2f}; break-even "
            + (f"{volume / 1e6:.1f}M output tokens a day" if volume is not None else "at no volume"),
        )
        for each in (50e6, 200e6):
            home, bought = numbers.self_host_usd_per_month(each), numbers.api_usd_per_month(each)
            mixed = numbers.self_host_usd_per_month(0.7 * each) + numbers.api_usd_per_month(0.3 * each)
            say(
                f"{each / 1e6:.0f}M output tokens a day (against {provider})",
                "reproduced" if home < bought else "refuted",
                f"${home:,.0f} a month at home on {numbers.capacity.replicas(each)} L40S, ${bought:,.0f} at the API; 70 % at home "
                f"${mixed:,.0f} ({1 - mixed / bought:+.0%} of the API's bill saved, before engineers)",
            )


def main() -> int:
    for part in (ballparks, traffic, memory, parallelism, links, volumes):
        part()
    for row in recorded_rows():
        say(*row)
    leave_rows(ROWS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
