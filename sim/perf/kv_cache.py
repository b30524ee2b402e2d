"""How layers share the KV cache: groups with a block table each, all drawing blocks of equal bytes from one pool.

Layers whose cache behaves alike (all tokens, a window, a state) form a kind. One kind is one group. Several kinds are cut
into groups of equally many layers: as many as the smallest kind has (or the largest, where they differ by less than half),
the last of a kind padded; kinds with smaller pages get longer blocks, or padding. A recurrent state is a page of its own:
with one in the model the attention block grows until its page holds a state, and a sequence takes one such page in each
group of states. Compressed attention has groups of its own (``sim.perf.compressed_cache``). A request of L tokens holds, in
each group,

    full       ceil(L / B)                                   blocks
    sliding    ceil(min(W - 1 + in flight, L) / B) + 1       in flight = batches scheduled and not settled x token budget
    chunk      ceil(min(chunk + in flight, L) / B)
    state      1, or 2 where prefixes are cached (0.22 and later)

and the pool's concurrency at L is its blocks over that sum, as vLLM's log prints it.
Source: vLLM 0.33 ``v1/core/kv_cache_planning.py``, ``v1/kv_cache_interface.py``, ``platforms/interface.py``.
Leaves out: layouts that pack pages of several sizes into one block (0.33, where a back end chooses them), block sizes that a
back end demands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.perf.compressed_cache import compressed_groups
from sim.perf.geometry import kv_element_bytes, layer_kv_bytes, layer_state_bytes
from sim.perf.kv_groups import CacheGroup, Kind
from sim.spec.engine import EngineSpec
from sim.spec.layers import CompressedAttention, FullAttention, LatentAttention, LayerGroup
from sim.spec.model import ModelSpec
from sim.spec.releases import release_of


@dataclass(frozen=True)
class CacheLayout:
    """The groups of a model on one GPU and the bytes of one block in each of them."""

    groups: tuple[CacheGroup, ...]
    block_bytes: float
    in_flight_tokens: int
    by_concurrency: bool
    """The log's tokens are concurrency x length (0.22 and later)."""

    def blocks_of(self, tokens: int) -> int:
        """Blocks that a request of ``tokens`` holds at the most, in all groups."""
        return sum(group.blocks(tokens, self.in_flight_tokens) for group in self.groups)

    def blocks_while_decoding(self, tokens: int) -> int:
        """Blocks that a decoding request of ``tokens`` holds: nothing but its newest tokens is in flight."""
        return sum(group.blocks(tokens, 2) for group in self.groups)

    @property
    def growing(self) -> tuple[CacheGroup, ...]:
        """Groups in which a sequence takes more blocks the longer it is."""
        return tuple(group for group in self.groups if not self._stands(group))

    @property
    def standing_blocks(self) -> int:
        """Blocks that a decoding sequence holds whatever its length: its states, and windows within a block of the rest."""
        return sum(group.blocks(group.window + 2, 2) for group in self.groups if self._stands(group))

    @property
    def standing_in_flight(self) -> int:
        """Blocks that the batches in flight hold in those windows besides."""
        windows = (group for group in self.groups if self._stands(group) and group.kind != "state")
        return sum(-(-self.in_flight_tokens // group.block_size) for group in windows)

    def _stands(self, group: CacheGroup) -> bool:
        longest = max((one.block_size for one in self.groups if one.kind == "full"), default=0)
        return group.kind == "state" or 0 < group.window <= longest

    def simulated(self, engine: EngineSpec) -> tuple[CacheGroup, ...]:
        """The groups as the engine is simulated with: full attention, sliding windows and states in blocks of one length.
        None where there is but one full group, or one that this leaves out: one group stands for all then
        (``MemoryPlan.one_group_blocks``). Other engines' policies are of one group."""
        kinds = {group.kind for group in self.groups}
        if (len(self.groups) == 1 and kinds == {"full"}) or not kinds <= {"full", "sliding", "state"}:
            return ()
        return self._of_one_length() if engine.decides_as_vllm else ()

    def _of_one_length(self) -> tuple[CacheGroup, ...]:
        """The groups with blocks of the longest length: of a window in blocks 1/k as long k groups stand for one, which
        together hold as many blocks to within k. None where a window is no longer than such a block."""
        longest = max((group.block_size for group in self.groups if group.kind != "state"), default=0)
        found: list[CacheGroup] = []
        for group in self.groups:
            if group.kind == "state" or group.block_size == longest:
                found.append(group)
            elif group.kind == "full" or longest % group.block_size or group.window <= longest:
                return ()
            else:
                found += [replace(group, block_size=longest)] * (longest // group.block_size)
        return tuple(found)

    def concurrency(self, blocks: int, tokens: int) -> float:
        """Requests of ``tokens`` that ``blocks`` hold."""
        each = self.blocks_of(tokens)
        return blocks / each if each else float("inf")

    def tokens(self, blocks: int, max_model_len: int) -> int:
        """KV tokens as the release prints them for a pool of ``blocks``."""
        if len(self.groups) == 1 and self.groups[0].kind == "full":
            return blocks * self.groups[0].block_size
        if self.by_concurrency:
            return int(self.concurrency(blocks, max_model_len) * max_model_len)
        with_tokens = [group.block_size for group in self.groups if group.kind != "state"]
        return blocks // len(self.groups) * min(with_tokens, default=max_model_len)


def cache_layout(model: ModelSpec, engine: EngineSpec) -> CacheLayout:
    """The groups of ``model`` under a resolved ``engine``: on the pipeline stage with most layers."""
    tensor, stages = engine.tensor_parallel_size, engine.pipeline_parallel_size
    release = release_of(engine.version)
    depth = stages + 1 if engine.async_scheduling else stages
    in_flight = (engine.max_num_batched_tokens or 2048) * (depth if release.windows_count_steps_in_flight else 1)
    kinds: dict[tuple[Kind, int], dict[float, int]] = {}
    compressed: dict[CompressedAttention, int] = {}
    for group in model.stack:
        count = -(-group.count // stages)
        if isinstance(group.attention, CompressedAttention):
            compressed[group.attention] = compressed.get(group.attention, 0) + count
            continue
        size = layer_kv_bytes(model, group, engine.kv_cache_dtype, tensor)
        if size:
            sizes = kinds.setdefault(("full", 0) if engine.disable_hybrid_kv_cache_manager else _kind(group), {})
            sizes[size] = sizes.get(size, 0) + count
        if group.state is not None:
            sizes = kinds.setdefault(("state", 0), {})
            page = layer_state_bytes(group, tensor)
            sizes[page] = sizes.get(page, 0) + count
    pages = release.state_pages_with_caching if engine.enable_prefix_caching else 1
    if compressed:
        element = kv_element_bytes(engine.kv_cache_dtype, model)
        groups, block_bytes = compressed_groups(compressed, element, engine.block_size, engine.version)
    else:
        groups, block_bytes = _groups(kinds, engine.block_size, pages)
    return CacheLayout(tuple(groups), block_bytes, in_flight, release.tokens_by_concurrency)


def _kind(group: LayerGroup) -> tuple[Kind, int]:
    attention = group.attention
    if isinstance(attention, FullAttention) and attention.window is not None:
        return ("sliding" if attention.window_kind == "sliding" else "chunk"), attention.window
    assert isinstance(attention, FullAttention | LatentAttention), "a layer without a cache has no kind"
    return "full", 0


def _groups(kinds: dict[tuple[Kind, int], dict[float, int]], block_size: int, pages: int) -> tuple[list[CacheGroup], float]:
    if not kinds:
        return [], 0.0
    if len(kinds) == 1:
        ((kind, window), sizes) = next(iter(kinds.items()))
        page = sum(size * count for size, count in sizes.items())
        return [CacheGroup(kind, sum(sizes.values()), block_size, window, pages)], page * (
            1 if kind == "state" else block_size
        )
    states = [size for (kind, _), sizes in kinds.items() if kind == "state" for size in sizes]
    tokens = [size for (kind, _), sizes in kinds.items() if kind != "state" for size in sizes]
    if states:
        block_size = max(block_size, block_size * -(-int(max(states)) // int(block_size * max(tokens))))
    page = max(max(tokens) * block_size, max(states, default=0.0))
    counts = [sum(sizes.values()) for sizes in kinds.values()]
    each = max(counts) if max(counts) < 1.5 * min(counts) else min(counts)
    found = []
    for (kind, window), sizes in kinds.items():
        longer = int(page // (max(sizes) * block_size)) if kind != "state" else 1
        found += [CacheGroup(kind, each, block_size * max(longer, 1), window, pages)] * -(-sum(sizes.values()) // each)
    return found, page * each
