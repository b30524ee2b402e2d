"""The routed experts of a mixture apart from everything else, where several ranks share them: which layers have some,
whether ranks step together, what is refused. How long experts take is in ``sim.perf.expert_step``.

Everything else (attention, dense parts, shared experts, router, head) is ``without_experts``, replicated over the ranks and
split by tensor parallelism within each.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sim.errors import ConfigError
from sim.spec.engine import EngineSpec
from sim.spec.layers import FeedForward, LayerGroup
from sim.spec.model import ModelSpec


def mixture_groups(model: ModelSpec) -> list[tuple[LayerGroup, FeedForward]]:
    """The groups of layers with routed experts; none = the model is dense."""
    return [(g, g.feed_forward) for g in model.stack if g.feed_forward is not None and g.feed_forward.experts]


def steps_together(model: ModelSpec, engine: EngineSpec) -> bool:
    """Whether the ranks of ``engine`` share experts, so that they make every step together."""
    return engine.data_parallel_size > 1 and bool(mixture_groups(model))


@lru_cache(maxsize=64)
def without_experts(model: ModelSpec) -> ModelSpec:
    """``model`` with no routed expert in it."""
    return replace(model, stack=tuple(_plain(group) for group in model.stack))


def _plain(group: LayerGroup) -> LayerGroup:
    part = group.feed_forward
    if part is None or not part.experts:
        return group
    rest = replace(part, experts=0, active_experts=0, expert_width=0, expert_hidden_size=None)
    return replace(group, feed_forward=rest if rest.width or rest.shared_width else None)


def check_experts(model: ModelSpec, engine: EngineSpec) -> None:
    """Refuse expert parallelism that the server would refuse, or that is not modelled.

    Raises:
        ConfigError: with the arithmetic.
    """
    mixtures, gpus = mixture_groups(model), engine.expert_ranks
    if engine.enable_expert_parallel and not mixtures:
        raise ConfigError(f"engine.enable_expert_parallel: {model.name} is dense, there are no experts to spread")
    if engine.data_parallel_size > 1 and mixtures and engine.pipeline_parallel_size > 1:
        raise ConfigError(
            "engine.data_parallel_size: ranks of a mixture with pipeline stages are not modelled, but got "
            f"{engine.data_parallel_size} ranks of {engine.pipeline_parallel_size} stages"
        )
    for _, part in mixtures if engine.enable_expert_parallel else ():
        slots = part.experts + engine.num_redundant_experts
        if gpus > slots:
            raise ConfigError(
                f"engine.enable_expert_parallel: {gpus} GPUs (tensor x data parallel) for {slots} experts of {model.name}: "
                "a GPU without an expert; more engine.num_redundant_experts fill it"
            )
        if engine.enable_eplb and slots % gpus:
            raise ConfigError(
                f"engine.num_redundant_experts: {part.experts} + {engine.num_redundant_experts} experts must be a multiple "
                f"of the {gpus} GPUs (tensor x data parallel), but {slots} / {gpus} = {slots / gpus:.2f}; "
                f"{-slots % gpus + engine.num_redundant_experts} would do"
            )
