"""What a GPU holds besides weights and cache: vLLM's profiling pass, runtime, links, graphs; each with its spread.

    forward     tokens x 2 B x (width + 1.3 H)      width: gate, up and their product of the widest dense part over the TP
                                                    ranks; of a mixture, what ``fused_moe`` keeps of a token's k experts:
                                                    k (max(2 I / TP, H) + I / TP)
    sampler     sequences x vocabulary x the release's bytes: logits in 32 bits, sorted copy, indices, probabilities; of
                vLLM's profiling pass alone (``engine.runtime``); 0 where a model does not generate
    towers      the largest picture (or clip) through its encoder: patches x 2 B x (3.5 I + 10 H), as far as it exceeds
                the two above: the passes follow one another
    runtime     0.20 GiB: CUDA context growth, workspaces
    links       0.40 GiB at 2 GPUs on NVLink, growing with (GPUs / 2)^1.23; 0.1 GiB over PCIe: NCCL, all-reduce buffers
    graphs      0.10 GiB + 0.35 MiB a captured size and layer, where the release subtracts them

The sampler's bytes, 0.20 and the link figures were fitted to start-up logs of vLLM 0.10 to 0.29 and to a measured 0.26 on
H100 and H200; the towers' to three logs; the graph figures to five, which they meet within a factor of two. Against
single logs the sampler's term strays by a quarter, runtime, towers and links by half.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.perf.cuda_graphs import capture_sizes
from sim.perf.mixture import steps_together
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec
from sim.spec.releases import Release, release_of
from sim.units import GIB

_HIDDEN_COPIES = 1.3
_RUNTIME_BYTES = 0.20 * GIB
_NVLINK_PAIR_BYTES = 0.40 * GIB
_NVLINK_GROWTH = 1.23
_PCIE_BYTES = 0.10 * GIB
_GRAPH_BYTES_BASE = 0.10 * GIB
_GRAPH_BYTES_PER_LAYER_AND_SIZE = 0.35 * 1024**2
_UNSPLIT_SAMPLER_BYTES = 34.5
"""Without FlashInfer's sampler (ROCm, GPUs before Ampere) the first runner sorts the logits in every release."""


_ROUTED_AT_ONCE = 16_384
"""vLLM's ``VLLM_FUSED_MOE_CHUNK_SIZE``."""
_LOW_LATENCY_TOKENS = 128
"""As DeepEP's README sizes them for decoding."""
_BUFFER_BYTES = 1.0 * GIB


class Term(NamedTuple):
    """One term of the memory arithmetic, bytes on one GPU."""

    name: str
    bytes: float
    spread: float
    """Share by which single servers stray from it."""


def terms(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> tuple[Term, ...]:
    """Everything but weights and cache, of a resolved ``engine``."""
    tokens, seqs = engine.max_num_batched_tokens or 2048, engine.max_num_seqs or 256
    tensor = engine.tensor_parallel_size
    width = widest_feed_forward(model, tensor, routed_tokens(tokens, engine) / tokens, expert_slices(engine))
    forward = tokens * 2.0 * (width + _HIDDEN_COPIES * model.hidden_size)
    sampler = 0.0
    if engine.runtime == "vllm" and model.generates:
        sampler = seqs * model.vocab_size * sampler_bytes_per_logit(model, gpu, engine)
    found = [Term("forward pass", forward, 0.25), Term("sampler", sampler, 0.25)]
    if model.towers and not (engine.language_model_only or engine.skip_mm_profiling):
        largest = max(tower.largest_input * 2.0 * (3.5 * tower.inner_width + 10 * tower.width) for tower in model.towers)
        found.append(Term("towers' largest input beyond these", max(0.0, largest - forward - sampler), 0.5))
    found.append(Term("runtime", _RUNTIME_BYTES, 0.5))
    gpus = tensor * engine.pipeline_parallel_size
    if gpus > 1:
        joined = min(gpus, gpu.max_scaleup_gpus)
        over = _PCIE_BYTES if gpu.link == "pcie" else _NVLINK_PAIR_BYTES * (joined / 2) ** _NVLINK_GROWTH
        found.append(Term("communication", over, 0.5))
    if steps_together(model, engine):
        found.append(Term("all-to-all buffers", all_to_all_bytes(model, engine), 0.5))
    return (*found, Term("CUDA graphs", graph_bytes(model, engine, gpu), 0.5))


def widest_feed_forward(model: ModelSpec, tensor_parallel: int, routed: float, slices: int) -> float:
    """The most numbers that one token of a rank holds within a feed-forward part on one GPU. ``routed``: tokens that pass
    the GPU's experts, cut into ``slices``, for each of its own."""
    widest = 0.0
    for part in (group.feed_forward for group in model.stack if group.feed_forward is not None):
        fan = 3 if part.gated else 2
        dense = fan * (part.width + part.shared_width) / tensor_parallel
        inner = part.expert_width / slices
        each = part.active_experts * (max((fan - 1) * inner, part.expert_hidden_size or model.hidden_size) + inner)
        widest = max(widest, dense, routed * each)
    return widest


def routed_tokens(tokens: int, engine: EngineSpec) -> float:
    """Tokens whose experts one GPU works on at once when every rank has ``tokens``: of whole experts its share, of slices
    all tokens of all ranks, in pieces of ``_ROUTED_AT_ONCE``."""
    if engine.enable_expert_parallel and engine.expert_ranks > 1:
        return tokens / engine.tensor_parallel_size
    return max(tokens, min(tokens * engine.data_parallel_size, _ROUTED_AT_ONCE))


def expert_slices(engine: EngineSpec) -> int:
    """Parts into which an expert is cut."""
    return 1 if engine.enable_expert_parallel else engine.expert_ranks


def all_to_all_bytes(model: ModelSpec, engine: EngineSpec) -> float:
    """Buffers of the library that carries tokens between ranks. DeepEP's low-latency kernels keep room for
    ``_LOW_LATENCY_TOKENS`` tokens a rank and expert, sent and received, twice (``get_low_latency_rdma_size_hint``); the
    others about 1 GiB (vLLM's ``VLLM_DEEPEP_BUFFER_SIZE_MB``)."""
    if engine.all2all_backend != "deepep_low_latency":
        return _BUFFER_BYTES
    experts = max(group.feed_forward.experts for group in model.stack if group.feed_forward is not None)
    return 2.0 * 2.0 * (experts + engine.num_redundant_experts) * _LOW_LATENCY_TOKENS * 2.0 * model.hidden_size


def sampler_bytes_per_logit(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Peak of the sampler in the profiling pass, bytes an entry of sequences x vocabulary, by release and runner."""
    release = release_of(engine.version)
    if on_second_runner(model, release):
        return release.second_sampler_bytes_per_logit
    if gpu.vendor == "AMD" or gpu.arch in ("Turing", "Volta"):
        return max(release.sampler_bytes_per_logit, _UNSPLIT_SAMPLER_BYTES)
    return release.sampler_bytes_per_logit


def on_second_runner(model: ModelSpec, release: Release) -> bool:
    """Whether the release serves ``model`` with its second model runner: all, or those with neither experts nor states."""
    if release.second_runner == "all":
        return True
    plain = all(group.state is None and not (group.feed_forward and group.feed_forward.experts) for group in model.stack)
    return release.second_runner == "dense" and plain


def graph_bytes(model: ModelSpec, engine: EngineSpec, gpu: GpuSpec) -> float:
    """What vLLM subtracts for CUDA graphs, bytes; 0 when eager, when the estimate is off (before 0.20), and on the second
    runner before 0.29."""
    release = release_of(engine.version)
    sizes = capture_sizes(engine, gpu)
    if not sizes or not engine.estimate_cudagraph_memory:
        return 0.0
    if on_second_runner(model, release) and not release.second_runner_counts_graphs:
        return 0.0
    return _GRAPH_BYTES_BASE + _GRAPH_BYTES_PER_LAYER_AND_SIZE * len(sizes) * model.layer_count
