"""A swarm of seeds: each draws a scenario over all configuration groups, presets and values of one's own mixed, and runs it
with every law watched. ``python -m tests.laws.random_scenarios FIRST COUNT`` runs many and prints what went wrong.

Requests are few and short, so that what is strange (a dying fleet, a full cache, five policies at once) costs little.
"""

from __future__ import annotations

import copy
import functools
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from sim.analysis import price, summarize
from sim.cli.scenario import scenario_from
from sim.errors import InvariantError, SimError
from sim.run import simulate
from sim.spec import Scenario

CONFIGS = Path(__file__).parents[2] / "configs"
LIMIT_S = 45.0
"""CPU seconds that no scenario may take."""

SELF_CONTAINED = ("chat_synthetic", "chat_week_synthetic", "agents_and_chat_synthetic")
"""Workload presets that need no file."""

SMALL_MODELS = ("llama3_8b", "qwen3_8b", "qwen2_5_7b", "mistral_nemo_12b", "llama2_7b", "gemma3_12b")


class Ended(NamedTuple):
    """How a seed ended: ``answer``, ``refused`` (the scenario is none: too large a model, no replica), or ``alarm``,
    ``crash``, ``slow``."""

    seed: int
    status: str
    detail: str
    cpu_s: float
    requests: int


class Draw(random.Random):
    """Random choices by name."""

    def maybe(self, p: float, value: Any, otherwise: Any = None) -> Any:
        return value if self.random() < p else otherwise

    def between(self, low: float, high: float) -> float:
        """Log-uniform."""
        return float(f"{low * (high / low) ** self.random():.3g}")


@functools.cache
def presets(group: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))


@functools.cache
def composed(*overrides: str) -> Any:
    GlobalHydra.instance().clear()
    with initialize_config_module("sim.configs", version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


def preset(group: str, name: str) -> dict[str, Any]:
    chosen: dict[str, Any] = copy.deepcopy(composed(f"{group}={name}")[group])
    return chosen


def drawn(seed: int) -> dict[str, Any]:
    """The configuration of ``seed``, as the composed configuration would be."""
    draw = Draw(seed)
    data: dict[str, Any] = copy.deepcopy(composed())
    data["check_invariants"] = True
    data["seed"] = draw.randrange(1000)
    data["output"] = {"requests": True, "timeseries": draw.random() < 0.5, "steps": draw.random() < 0.1, "report": False}
    data["model"], data["gpu"], tp = machine(draw)
    for market in ("on_demand", "spot", "reserved"):  # some GPUs are not sold so, or not at all
        data["gpu"]["price"][f"{market}_usd_per_hour"] = data["gpu"]["price"].get(f"{market}_usd_per_hour") or 1.0
    data["engine"] = engine(draw, tp)
    data["fleet"] = fleet(draw, data["engine"])
    pools = list(data["fleet"]["pools"]) or ["main"]
    data["autoscaler"] = autoscaler(draw, empty=not any_replicas(data["fleet"]))
    data["spot"] = spot(draw)
    data["gateway"] = gateway(draw, pools)
    data["workload"] = workload(draw)
    data["timeline"] = timeline(draw, pools, data)
    data["slo"] = preset("slo", draw.choice(presets("slo")))
    data["cost"] = preset("cost", draw.choice(presets("cost")))
    return data


def machine(draw: Draw) -> tuple[dict[str, Any], dict[str, Any], int]:
    if draw.random() < 0.75:
        return (
            preset("model", draw.choice(SMALL_MODELS)),
            preset("gpu", draw.choice(presets("gpu"))),
            draw.choice((1, 1, 2, 2)),
        )
    gpu, tp = draw.choice((("h100", 8), ("h200", 4), ("h200", 8), ("b200", 8), ("mi300x", 8)))
    return preset("model", draw.choice(presets("model"))), preset("gpu", gpu), tp


def engine(draw: Draw, tp: int) -> dict[str, Any]:
    spec = preset("engine", draw.choice(("vllm", "vllm", "vllm", *presets("engine"))))
    seqs = draw.choice((1, 2, 8, 32, 128, None))
    own: dict[str, Any] = {
        "max_num_seqs": seqs,
        "max_num_batched_tokens": draw.maybe(0.3, draw.choice((256, 512, 2048, 8192))),
        "max_model_len": draw.choice((2048, 4096, 4096)),
        "block_size": draw.choice((16, 16, 32, 1)),
        "num_gpu_blocks_override": draw.maybe(0.5, draw.choice((70, 150, 600, 3000))),
        "enable_prefix_caching": draw.random() < 0.7,
        "enable_chunked_prefill": draw.random() < 0.9,
        "async_scheduling": draw.random() < 0.6,
        "long_prefill_token_threshold": draw.maybe(0.2, draw.choice((64, 500)), 0),
        "watermark": draw.maybe(0.2, 0.05, 0.0),
        "tensor_parallel_size": tp,
        "gpu_memory_utilization": draw.maybe(0.2, 0.95, 0.92),
        "prefill_schedule_interval": draw.maybe(0.1, 3, 1),
    }
    if spec["name"] == "vllm" and draw.random() < 0.25:
        own["scheduling_policy"] = "priority"
    if draw.random() < 0.1:
        own.update(step_noise_cv=0.2, straggler_rate=0.01)
    for name in draw.sample(sorted(own), draw.randrange(3, len(own))):
        spec[name] = own[name]
    spec["tensor_parallel_size"] = tp
    spec["max_model_len"] = own["max_model_len"]
    if spec.get("max_num_batched_tokens"):
        spec["max_num_seqs"] = min(spec["max_num_seqs"] or 32, spec["max_num_batched_tokens"])
    if spec.get("num_gpu_blocks_override"):
        spec["max_model_len"] = min(
            spec["max_model_len"], (spec["num_gpu_blocks_override"] - 1) * spec.get("block_size", 16)
        )
    return spec


def fleet(draw: Draw, engine_spec: dict[str, Any]) -> dict[str, Any]:
    spec = preset("fleet", draw.choice(presets("fleet")))
    if spec["replicas"]:
        spec["replicas"] = draw.randrange(1, 6)
    spec["warm_replicas"] = draw.maybe(0.1, 1, 0)
    spec["headroom_replicas"] = draw.maybe(0.1, 1, 0)
    spec["drain_timeout_s"] = draw.choice((0.0, 5.0, 300.0))
    spec["max_replicas"] = draw.choice((2, 6, 12))
    spec["min_replicas"] = draw.choice((0, 1, 1))
    if draw.random() < 0.5:  # starts within the run
        spec["cold_start"].update(
            provisioning=draw.choice(({"kind": "constant", "seconds": 2.0}, {"kind": "uniform", "low_s": 0.0, "high_s": 20.0})),
            image={"kind": "constant", "seconds": 1.0}, engine_start={"kind": "constant", "seconds": 4.0},
            stockout_probability=draw.maybe(0.2, 0.5, 0.0), stockout_retry_s=5.0,
        )  # fmt: skip
    if draw.random() < 0.35:
        spec["pools"] = {
            name: {
                "replicas": draw.randrange(0 if place else 1, 4), "market": draw.choice(("on_demand", "spot", "reserved")),
                "zones": draw.maybe(0.5, ["zone_a", "zone_b"], []), "min_replicas": draw.choice((0, 1)),
                "max_replicas": draw.choice((4, 8)), "autoscaler": draw.maybe(0.2, autoscaler(draw)),
                "engine": draw.maybe(0.2, {**engine_spec, "max_num_seqs": 4}), "spot": draw.maybe(0.2, spot(draw)),
            }
            for place, name in enumerate(("small", "large", "third")[: draw.randrange(1, 4)])
        }  # fmt: skip
    if draw.random() < 0.3:
        spec["failures"] = {
            "gpu_mtbf_h": draw.between(0.005, 1.0), "link_mtbf_h": draw.maybe(0.5, draw.between(0.005, 1.0)),
            "detect_s": draw.choice((0.0, 5.0, 30.0)),
        }  # fmt: skip
    if draw.random() < 0.15:
        spec["background"] = {
            "tasks": draw.randrange(1, 30), "input_tokens": draw.randrange(1, 1500), "output_tokens": draw.randrange(1, 200),
            "deadline_s": draw.maybe(0.5, 30.0), "yield_by": draw.choice(("abort", "finish")),
            "max_interactive": draw.randrange(0, 4),
        }  # fmt: skip
    if draw.random() < 0.15:
        spec["gpu_budget"] = draw.randrange(4, 40)
    spec["billing"] = {
        "starts": draw.choice(("requested", "instance", "ready")), "increment_s": draw.choice((0.0, 1.0, 3600.0)),
        "minimum_s": draw.choice((0.0, 60.0)),
    }  # fmt: skip
    return spec


def any_replicas(spec: dict[str, Any]) -> bool:
    return any(pool["replicas"] for pool in spec["pools"].values()) if spec["pools"] else bool(spec["replicas"])


def autoscaler(draw: Draw, empty: bool = False) -> dict[str, Any]:
    if not empty and draw.random() < 0.4:
        return {"kind": "none"}
    spec = preset("autoscaler", draw.choice([name for name in presets("autoscaler") if name != "none"]))
    if draw.random() < 0.6:
        spec.update(interval_s=draw.choice((2.0, 5.0, 15.0)), scrape_s=draw.choice((1.0, 5.0, 15.0)))
    if draw.random() < 0.3:
        spec["staleness_s"] = 10.0
    if draw.random() < 0.5 and "scale_down_window_s" in spec:
        spec["scale_down_window_s"] = draw.choice((0.0, 20.0))
    return spec


def spot(draw: Draw) -> dict[str, Any]:
    spec = preset("spot", draw.choice(presets("spot")))
    hazard = draw.choice(
        (
            {"kind": "exponential", "mean_life_h": draw.between(0.003, 0.5)},
            {"kind": "weibull", "scale_h": draw.between(0.003, 0.5), "shape": draw.choice((0.6, 1.5))},
            {"kind": "time_of_day", "mean_life_h": draw.between(0.003, 0.5), "multipliers": [0.0, 2.0]},
            {"kind": "zone_runs", "up_mean_h": 0.02, "up_median_h": 0.01, "down_mean_h": 0.01, "down_median_h": 0.005},
        )
    )
    if draw.random() < 0.6 or spec["hazard"] is None:
        spec["hazard"] = hazard
    spec.update(
        notice_s=draw.choice((0.0, 2.0, 30.0, 120.0)), on_notice=draw.choice(("drain", "hand_back", "ignore")),
        correlation=draw.choice((0.0, 0.0, 0.5, 1.0)), replace_on_notice=draw.random() < 0.7,
        on_demand_share=draw.choice((0.0, 0.0, 0.5)), fallback=draw.choice(("none", "on_demand")),
    )  # fmt: skip
    return spec


def gateway(draw: Draw, pools: list[str]) -> dict[str, Any]:
    if draw.random() < 0.35:
        spec = preset("gateway", draw.choice(presets("gateway")))
        if draw.random() < 0.5 and spec["client_timeout_s"] is not None:
            spec["client_timeout_s"] = draw.choice((0.5, 3.0, 10.0))
        return spec
    spec = preset("gateway", "plain")
    spec["router"] = router(draw)
    spec["users"] = draw.choice(
        ({"kind": "open"}, {"kind": "open"}, {"kind": "closed", "users": 7, "think_s": 0.2}, {"kind": "sessions"})
    )
    spec["client_timeout_s"] = draw.choice((None, None, 0.05, 1.0, 5.0, 30.0))
    spec["client_timeout_covers"] = draw.choice(("attempt", "call"))
    spec["abort_on_disconnect"] = draw.random() < 0.7
    spec["max_queue_requests"] = draw.choice((None, None, 0, 3))
    spec["retries"] = draw.maybe(0.4, retries(draw))
    spec["hedging"] = draw.maybe(0.35, {"delay_s": draw.between(0.005, 3.0), "max_hedges": draw.randrange(1, 5)})
    spec["outliers"] = draw.maybe(0.3, outliers(draw))
    if draw.random() < 0.3:
        spec["queue"] = {
            "max_in_flight": draw.choice((None, 1, 4)), "max_requests": draw.choice((None, 0, 20)),
            "ttl_s": draw.choice((None, 1.0)), "fair": draw.random() < 0.5, "weights": {"a": 3.0},
        }  # fmt: skip
    spec["admission"] = [admission(draw) for _ in range(draw.choice((0, 0, 1, 2)))]
    spec["cache"] = draw.maybe(0.2, {"ttl_s": 2.0, "max_entries": draw.choice((1, 1000))})
    spec["dedupe"] = draw.random() < 0.2
    if draw.random() < 0.2:
        spec["passes"] = [
            {"stage": draw.choice(("before", "after")), "pool": draw.choice((None, *pools)), "output_tokens": 3,
             "template_tokens": 40, "latency_s": 0.02, "block_probability": 0.1}
            for _ in range(draw.randrange(1, 3))
        ]  # fmt: skip
    if draw.random() < 0.25:
        spec["apis"] = composed(f"api=[{','.join(draw.sample(presets('api'), draw.randrange(1, 3)))}]")["gateway"]["apis"]
        spec["apis"] = copy.deepcopy(spec["apis"])
        for api in spec["apis"].values():
            api["error_fraction"] = draw.choice((0.0, 0.3))
            api["requests_per_min"] = draw.choice((None, 20.0))
        spec["hybrid"] = {
            "uncertain_fraction": draw.choice((0.0, 0.3)), "judged": draw.choice(("before", "after")),
            "overload_waiting": draw.choice((None, 2)), "after_failure": draw.random() < 0.5,
            "api_first": draw.random() < 0.2, "local_max_input_tokens": draw.choice((None, 500)),
            "pinned_tenants": draw.choice(([], ["a"])),
            "larger_pool": draw.maybe(0.3, pools[-1]) if len(pools) > 1 else None,
        }  # fmt: skip
    spec["network_one_way_s"] = draw.maybe(0.2, {draw.choice(pools): draw.choice((0.01, 0.2, 2.0))}, {})
    spec["plain_routes"] = draw.maybe(0.1, ["chat"], [])
    return spec


def router(draw: Draw) -> dict[str, Any]:
    kind = draw.choice(
        ("round_robin", "random", "power_of_two", "least_requests", "least_tokens_in_flight", "least_kv", "weighted_score",
         "session_affinity", "sglang_cache_aware", "static_weights")
    )  # fmt: skip
    stale = kind in ("power_of_two", "least_requests", "least_kv", "weighted_score")
    return {"kind": kind, **({"staleness_s": draw.choice((0.0, 0.2, 5.0))} if stale else {})}


def retries(draw: Draw) -> dict[str, Any]:
    budget = draw.choice((None, {"kind": "envoy"}, {"kind": "grpc"}, {"kind": "aws_standard", "capacity": 20}))
    if draw.random() < 0.2:
        return {"kind": "litellm", "budget": budget}
    return {
        "kind": "backoff", "max_attempts": draw.randrange(1, 6), "base_s": draw.choice((0.0, 0.05, 0.5)), "max_s": 4.0,
        "jitter": draw.choice(("none", "full", "equal", "quarter", "fifth")), "budget": budget,
        "on": draw.choice((["timeout", "shed", "evicted", "unavailable"], ["evicted", "unavailable"])),
    }  # fmt: skip


def outliers(draw: Draw) -> dict[str, Any]:
    return draw.choice(
        (
            {
                "kind": "envoy",
                "consecutive_failures": draw.randrange(1, 4),
                "max_ejected_share": 0.5,
                "always_eject_one": True,
            },
            {"kind": "litellm"},
            {"kind": "circuit_breaker", "window_requests": 3, "open_s": draw.choice((1.0, 30.0)), "half_open_requests": 2},
        )
    )


def admission(draw: Draw) -> dict[str, Any]:
    return draw.choice(
        (
            {
                "kind": "rate_limit",
                "requests_per_s": 5.0,
                "burst_requests": 4,
                "per": draw.choice(("all", "tenant", "route")),
            },
            {"kind": "rate_limit", "tokens_per_s": 3000.0, "burst_tokens": 3000, "assumed_output_tokens": 100},
            {"kind": "saturation", "retry_after_s": draw.choice((None, 0.5)), "protected_priority": draw.choice((None, 0))},
            {"kind": "tenant_budget", "usd": {"a": 0.001}, "default_usd": draw.choice((None, 0.002))},
        )
    )


def workload(draw: Draw) -> dict[str, Any]:
    spec = preset("workload", draw.choice(SELF_CONTAINED))
    if draw.random() < 0.75:
        spec.update(packaged=None, path=None, generator=generator(draw), rate_scale=1.0)
    else:
        spec["rate_scale"] = draw.choice((0.5, 1.0, 2.0))
    spec["limit"] = draw.choice((10, 60, 60, 150))
    spec["transforms"] = [{"kind": "filter", "max_input_tokens": 3000, "max_output_tokens": 400}]
    if draw.random() < 0.3:
        spec["transforms"].append(
            {"kind": "mix", "label": draw.choice(("route", "tenant")), "shares": {"a": 1.0, "chat": 2.0}}
        )
    spec["warmup_s"] = draw.maybe(0.1, 0.5, 0.0)
    return spec


def generator(draw: Draw) -> dict[str, Any]:
    rate = draw.between(0.5, 200.0)
    arrivals = draw.choice(
        (
            {"kind": "poisson", "rate_per_s": rate},
            {"kind": "gamma", "rate_per_s": rate, "cv": 3.0},
            {"kind": "weibull", "rate_per_s": rate, "shape": 0.6},
            {"kind": "mmpp", "rates_per_s": [rate, rate / 10], "mean_sojourn_s": [5.0, 5.0]},
            {"kind": "on_off", "on_rate_per_s": rate, "mean_on_s": 5.0, "mean_off_s": 20.0},
            {"kind": "self_exciting", "rate_per_s": rate, "branching": 0.5, "decay_s": 1.0},
        )
    )
    client: dict[str, Any] = {
        "arrivals": arrivals,
        "input_tokens": draw.choice(
            (
                {"kind": "lognormal", "mu": draw.choice((3.0, 5.5, 6.5)), "sigma": 1.0, "max_tokens": 3000},
                {"kind": "constant", "tokens": draw.choice((1, 16, 700))},
                {"kind": "empirical", "probabilities": [0, 0.5, 1], "tokens": [1, 200, 2000]},
            )
        ),
        "output_tokens": draw.choice(
            ({"kind": "lognormal", "mu": 4.0, "sigma": 1.0, "max_tokens": 400}, {"kind": "constant", "tokens": draw.choice((1, 2, 150))})
        ),
    }  # fmt: skip
    if draw.random() < 0.2:
        client["sessions"] = {
            "turns": {"kind": "lognormal", "mu": 1.0, "sigma": 0.5, "max_tokens": 6},
            "think_s": {"probabilities": [0, 1], "seconds": [0.2, 5.0]},
        }
    if draw.random() < 0.3:
        client["prefix"] = {"kind": "groups", "weights": [2, 1], "tokens": [500, 0]}
    if draw.random() < 0.2:
        client["flash_crowds"] = [{"start_s": 2.0, "factor": 5.0}]
    if draw.random() < 0.2:
        client["dependence"] = {"kind": "gaussian", "rho": 0.5}
    duration_s = max(30.0, 150 / rate)
    if draw.random() < 0.3:
        clients = {name: {**client, "tenant": name, "route": draw.choice(("chat", "agent"))} for name in ("a", "b")}
        return {"duration_s": duration_s, "clients": clients}
    return {"duration_s": duration_s, **client}


def timeline(draw: Draw, pools: list[str], data: dict[str, Any]) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = []
    for _ in range(draw.choice((0, 0, 1, 2, 4))):
        at_s, pool = draw.choice((0.0, 1.0, 5.0, 30.0)), draw.choice(pools)
        until_s = draw.maybe(0.5, at_s + 10.0)
        kinds: list[dict[str, Any]] = [
            {"kind": "rate", "factor": draw.choice((0.5, 2.0)), "until_s": until_s},
            {"kind": "context", "factor": draw.choice((0.5, 1.5)), "until_s": until_s},
            {"kind": "output", "factor": draw.choice((0.5, 1.5)), "until_s": until_s},
            {"kind": "route_mix", "shares": {"chat": 1.0, "agent": 1.0}, "until_s": until_s},
            {"kind": "deploy", "pool": pool, "engine": draw.maybe(0.5, {**data["engine"], "max_num_seqs": 16})},
            {"kind": "price", "factor": 2.0, "until_s": until_s},
            {"kind": "spot_hazard", "factor": 5.0, "until_s": until_s},
            {"kind": "replica_loss", "pool": pool, "count": draw.randrange(1, 4),
             "repair": draw.choice(("replace", "restart", "none"))},
            {"kind": "pool_size", "pool": pool, "replicas": draw.randrange(0, 5)},
        ]  # fmt: skip
        if data["gateway"]["apis"]:
            kinds.append({"kind": "api_outage", "until_s": until_s})
        if data["gateway"]["hybrid"]:
            kinds.append({"kind": "escalation", "factor": 0.5, "until_s": until_s})
        changes.append({"at_s": at_s, **draw.choice(kinds)})
    return changes


def scenario_of(seed: int) -> Scenario:
    """The scenario that ``seed`` draws.

    Raises:
        SimError: it is none.
    """
    return scenario_from(OmegaConf.create(drawn(seed)))


class _TooSlowError(Exception):
    """More CPU than allowed."""


def _too_slow(*_: object) -> None:
    raise _TooSlowError


def played(seed: int) -> Ended:
    """Run what ``seed`` draws, and ask for its figures."""
    cpu = time.process_time()
    status, detail, requests = "answer", "", 0
    before = signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        result = simulate(scenario_of(seed))
        requests = len(result.requests)
        summarize(result, cost=price(result))
    except InvariantError as error:
        status, detail = "alarm", str(error)
    except SimError as error:
        status, detail = "refused", str(error)
    except _TooSlowError:
        status, detail = "slow", traceback.format_exc(limit=-4)
    except Exception:
        status, detail = "crash", traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return Ended(seed, status, detail, time.process_time() - cpu, requests)


def main(first: int, count: int) -> None:
    """Run seeds ``first`` to ``first + count`` and print what ended otherwise than with an answer."""
    counts: dict[str, int] = {}
    cpu = slowest = 0.0
    for seed in range(first, first + count):
        ended = played(seed)
        counts[ended.status] = counts.get(ended.status, 0) + 1
        cpu, slowest = cpu + ended.cpu_s, max(slowest, ended.cpu_s)
        if ended.status != "answer" or ended.cpu_s > 10:
            print(f"seed {seed}: {ended.status} after {ended.cpu_s:.1f} s: {ended.detail.strip()}", flush=True)
    print(f"{counts}, {cpu:.0f} CPU s, slowest {slowest:.1f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
