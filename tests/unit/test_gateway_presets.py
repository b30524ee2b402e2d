"""Every preset of the groups gateway and api composes into a valid scenario."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from sim.cli.scenario import scenario_from
from sim.gateway.policies import needs_process

CONFIGS = Path(__file__).parents[2] / "configs"


def scenario(*overrides: str):  # type: ignore[no-untyped-def]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return scenario_from(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "gateway").glob("*.yaml")))
def test_gateway_preset(name: str) -> None:
    of_roles = ["fleet=disaggregated"] if name.endswith("_pd") else []  # its decider needs pools to decide between
    gateway = scenario(f"gateway={name}", *of_roles).gateway
    assert gateway.name == name
    assert needs_process(gateway) == (name not in ("plain", "sglang_router", "dynamo_pd", "sglang_pd"))


def test_several_providers_are_tried_in_the_order_given() -> None:
    names = sorted((path.stem for path in (CONFIGS / "api").glob("*.yaml")), reverse=True)
    apis = scenario(f"api=[{','.join(names)}]").gateway.apis
    assert list(apis) == names
    assert all(api.date and api.source for api in apis.values())


NUMBERS = {
    "aws_sdk": ("retries", {"max_attempts": 3, "base_s": 1.0, "max_s": 20.0, "jitter": "full", "honour_retry_after": False}),
    "circuit_breaker": ("outliers", {"failed_share": 0.5, "window_requests": 100, "open_s": 60.0, "half_open_requests": 10}),
    "envoy": ("outliers", {"consecutive_failures": 5, "interval_s": 10.0, "base_ejection_s": 30.0, "max_ejected_share": 0.1, "always_eject_one": False}),
    "grpc": ("retries", {"max_attempts": 4, "base_s": 0.1, "max_s": 1.0, "jitter": "fifth", "on": ("shed", "evicted", "unavailable")}),
    "litellm": ("outliers", {"failed_share": 0.5, "min_requests": 5, "single_min_requests": 1000, "cooldown_s": 5.0}),
    "llm_d": ("router", {"queue_weight": 2.0, "kv_weight": 2.0, "prefix_weight": 3.0, "block_tokens": 16, "max_prefix_blocks": 256}),
    "openai_client": ("retries", {"max_attempts": 3, "base_s": 0.5, "max_s": 8.0, "jitter": "quarter", "max_retry_after_s": 60.0}),
    "sglang_router": ("router", {"cache_threshold": 0.3, "balance_abs_threshold": 64, "balance_rel_threshold": 1.5}),
}  # fmt: skip
"""What the sources in the presets and policies say."""


@pytest.mark.parametrize("name", NUMBERS)
def test_a_preset_has_the_numbers_of_the_system_it_is_named_after(name: str) -> None:
    part, numbers = NUMBERS[name]
    found = getattr(scenario(f"gateway={name}").gateway, part)
    assert {key: getattr(found, key) for key in numbers} == numbers


@pytest.mark.parametrize(
    ("name", "covers"),
    [("grpc", "call"), ("envoy", "call"), ("openai_client", "attempt"), ("aws_sdk", "attempt"), ("litellm", "attempt")],
)
def test_whose_timeout_covers_the_call(name: str, covers: str) -> None:
    assert scenario(f"gateway={name}").gateway.client_timeout_covers == covers


def test_budgets_and_envoys_back_off() -> None:
    envoy = scenario("gateway=envoy").gateway.retries
    assert (envoy.base_s, envoy.max_s, envoy.jitter, envoy.honour_retry_after) == (0.025, 0.25, "full", False)
    assert (envoy.budget.share, envoy.budget.min_retries) == (0.2, 3)
    grpc = scenario("gateway=grpc").gateway.retries.budget
    assert (grpc.max_tokens, grpc.token_ratio) == (10.0, 0.1)
    aws = scenario("gateway=aws_sdk").gateway.retries.budget
    assert (aws.capacity, aws.retry_cost, aws.timeout_cost, aws.success_refund) == (500, 5, 10, 1)
    (shedding,) = scenario("gateway=llm_d").gateway.admission
    assert (shedding.queue_depth, shedding.kv_share, shedding.protected_priority) == (5.0, 0.8, 0)
