"""``verification_time``: the step time of an engine that speculates (``sim.perf.speculation``), or of ranks that step
together (``sim.perf.rank_speculation``), from model, draft, GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim.perf.attention import cache_reads
from sim.perf.choose import scaled_tables, step_time_model
from sim.perf.cuda_graphs import capture_sizes
from sim.perf.drafting import draft_parallel_size, drafting_of
from sim.perf.floors import with_floors
from sim.perf.geometry import head_bytes
from sim.perf.host import HostOverhead
from sim.perf.mixture import steps_together, without_experts
from sim.perf.rank_speculation import RankVerification
from sim.perf.rank_step import RankStepTime
from sim.perf.ranks import expert_times
from sim.perf.roofline import compute_rate, efficiencies, roofline_tables
from sim.perf.served import served_model
from sim.perf.speculation import LOGIT_PASSES, Proposing, Rows, SpeculativeStepTime
from sim.perf.step_time import DecodeLine, StepTimeModel, VerificationTime, Verified
from sim.perf.tabulated import StepTables, TabulatedStepTime
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import LatentAttention
from sim.spec.model import ModelSpec
from sim.spec.speculative import rates_of

PASS_GAP_S = 1.0e-4
"""Before each pass of a draft: launches that are not hidden and the choice of its tokens. Assumed, not fitted: a third to
two thirds of a step's own gap (``sim.perf.constants.RunnerTimes.gap_s``); range 0.05 to 0.3 ms."""


def verification_time(
    model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, adapters: bool = False
) -> SpeculativeStepTime | RankVerification:
    """Step times of a resolved ``engine`` with drafts; ``adapters``: of steps that hold a LoRA adapter."""
    target = step_time_model(model, gpu, engine, adapters)
    model = served_model(model, engine)
    scale = gpu.step_time_scale
    compute, memory = scale.get("compute", 1.0), scale.get("memory", 1.0)
    together = isinstance(target, RankStepTime)  # the rows' share of the experts is theirs then
    mixture = any(g.feed_forward and g.feed_forward.experts for g in model.stack)
    eff, tensor = efficiencies(gpu), engine.tensor_parallel_size
    bandwidth = gpu.bandwidth_gb_s * 1e9 * eff.memory / memory
    rate = compute_rate("bf16", gpu, eff) / compute
    rows = Rows(
        pair_s=max(float(np.min(target.tables.prefill_pair_s)), compute * _latent_pair_s(model, gpu, engine)),
        head_s=2.0 * model.vocab_size * model.hidden_size / (rate * tensor),
        head_read_s=head_bytes(model) / (bandwidth * tensor),
        sampler_s=LOGIT_PASSES * 4.0 * model.vocab_size / bandwidth,
        token_s=_token_s(target.tables) if mixture and not together else 0.0,
    )
    drafting = drafting_of(model, engine)
    if drafting is None:
        none = Proposing(0)
        return (
            RankVerification(target, rows, none, None)
            if isinstance(target, RankStepTime)
            else SpeculativeStepTime(target, rows, none, None)
        )
    spec = engine.speculative
    shared = draft_parallel_size(engine)
    alone = replace(engine, tensor_parallel_size=shared, pipeline_parallel_size=1)
    apart = together and steps_together(drafting.model, engine)
    layers = without_experts(drafting.model) if apart else drafting.model
    tables = with_floors(roofline_tables(layers, gpu, alone), layers, gpu, alone)
    draft = TabulatedStepTime(
        scaled_tables(tables, layers, gpu, shared),
        HostOverhead(),
        capture_sizes=capture_sizes(engine, gpu),
        source=drafting.model.name,
    )
    beside = 2.0 * drafting.beside_parameters / (bandwidth * shared)
    gap = PASS_GAP_S * scale.get("host", 1.0)
    proposing = Proposing(1 if spec.parallel_drafting else spec.drafts, beside, gap)
    if not isinstance(target, RankStepTime):
        return SpeculativeStepTime(target, rows, proposing, draft)
    if not apart:
        return RankVerification(target, rows, proposing, draft)
    experts = expert_times(drafting.model, gpu, engine)
    return RankVerification(target, rows, proposing, RankStepTime(draft, experts, target.ranks, None))


def _latent_pair_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Seconds of a pair in the layers that compare the latent itself, as decodes and verifications do (``attention``)."""
    reads = cache_reads(model, engine.kv_cache_dtype, engine.tensor_parallel_size)
    latent = any(isinstance(group.attention, LatentAttention) for group in model.stack)
    flop = sum(read.layers * read.flop_per_token for read in reads if read.window is None) if latent else 0.0
    return flop / (gpu.tflops_bf16 * 1e12 * efficiencies(gpu).pair)


def _token_s(tables: StepTables) -> float:
    """Seconds of one token more where the table ends."""
    tokens, seconds = tables.tokens, tables.nonattention_s
    return (seconds[-1] - seconds[-2]) / (tokens[-1] - tokens[-2])


class StepTimePerToken:
    """A ``StepTimeModel`` of an engine that speculates, for fluid models: the time in which each sequence gets one token,
    when every verification brings ``length`` of them.

    Args:
        time: of its steps.
        drafts: of a verification.
        length: acceptance length.
    """

    def __init__(self, time: VerificationTime, drafts: int, length: float) -> None:
        self._time = time
        self._drafts = drafts
        self._length = length

    def step(self, prefills: Sequence[tuple[int, int]], n_decode: int, decode_context: int) -> float:
        """See ``StepTimeModel``."""
        prompts = self._time.verification(prefills, None) if prefills else 0.0
        if not n_decode:
            return prompts
        verified = Verified(n_decode, n_decode * (1 + self._drafts), decode_context, True)
        return prompts + self._time.verification((), verified) / self._length

    def decode_line(self, n_decode: int, decode_context: int) -> DecodeLine:
        """See ``StepTimeModel``; of this context alone."""
        return DecodeLine(self.step((), n_decode, decode_context), 0.0, decode_context)


def mean_step_time(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTimeModel:
    """What a fluid model of a resolved ``engine`` asks: without adapters; with speculation, time per token at the mean
    acceptance of requests without a route of their own."""
    spec = engine.speculative
    if not spec.drafts or spec.method is None:
        return step_time_model(model, gpu, engine)
    length = 1.0 + sum(rates_of(spec.acceptance, spec.method, spec.drafts))
    return StepTimePerToken(verification_time(model, gpu, engine), spec.drafts, length)
