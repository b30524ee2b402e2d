"""CUDA-graph capture sizes: a batch of few tokens runs padded to the next captured size.

Sizes 1, 2, 4, then every 8 up to 248, then every 16 from 256 up to ``min(2 x max_num_seqs, 512)`` (1024 on data-centre
Blackwell), none above ``max_num_batched_tokens``; ``max_num_seqs`` itself and the token budget where they lie within.
A larger batch runs eager and unpadded. With K drafts a decoding request has 1 + K tokens: the limit is
``min(2 x max_num_seqs x (1 + K), 512)``, and each size is raised to a multiple of 1 + K, so that a batch in which every
row has all its drafts runs a full graph. Source: vLLM 0.32 (``VllmConfig._set_cudagraph_sizes``,
``CompilationConfig.adjust_cudagraph_sizes_for_spec_decode``).
"""

from __future__ import annotations

from bisect import bisect_left

from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec


def capture_sizes(engine: EngineSpec, gpu: GpuSpec) -> tuple[int, ...]:
    """The captured token counts of a resolved ``engine``, ascending; empty with ``enforce_eager``."""
    if engine.enforce_eager or engine.max_cudagraph_capture_size == 0:
        return ()
    if engine.cudagraph_capture_sizes is not None:
        return tuple(sorted(set(engine.cudagraph_capture_sizes)))
    seqs, budget = engine.max_num_seqs or 256, engine.max_num_batched_tokens or 2048
    limit = 1024 if gpu.arch == "Blackwell" and gpu.memory_gib >= 160 else 512
    rows = 1 + engine.speculative.drafts
    limit = min(engine.max_cudagraph_capture_size or min(2 * seqs * rows, limit), budget)
    sizes = [1, 2, 4, *range(8, 249, 8), *range(256, limit + 1, 16)]
    whole = {-(-size // rows) * rows for size in (*sizes, seqs, budget) if size <= limit}
    return tuple(sorted(size for size in whole if size <= limit))


def padded_tokens(tokens: int, sizes: tuple[int, ...]) -> int:
    """What a batch of ``tokens`` is padded to."""
    index = bisect_left(sizes, tokens)
    return sizes[index] if index < len(sizes) else tokens
