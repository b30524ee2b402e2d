"""``Limits``: an engine's options as the scheduler reads them, resolved to numbers."""

from __future__ import annotations

from sim.spec import EngineSpec


class Limits:
    """What bounds a step.

    Args:
        engine: resolved options (no ``None`` left in the limits).
        num_gpu_blocks: KV blocks as vLLM reports them.
    """

    def __init__(self, engine: EngineSpec, num_gpu_blocks: int) -> None:
        assert engine.max_num_seqs is not None
        assert engine.max_num_batched_tokens is not None
        assert engine.max_model_len is not None
        self.block_size = engine.block_size
        self.max_model_len = engine.max_model_len
        self.seats = engine.max_num_active_seqs or engine.max_num_seqs
        self.input_tokens = engine.max_num_batched_tokens
        self.budget = min(engine.max_num_scheduled_tokens or self.input_tokens, self.input_tokens)
        self.chunked = engine.enable_chunked_prefill
        self.reserve_full_isl = engine.scheduler_reserve_full_isl
        self.watermark_blocks = int(engine.watermark * num_gpu_blocks)
        self.by_priority = engine.scheduling_policy != "fcfs"
        self.others_go_on = self.by_priority
        """After a request gave up its own place for want of blocks, those behind it are still served."""
        self.prefills_apart = engine.batch_order == "prefill_first"
        """Nobody is admitted into a step with those who run already."""
        self.long_prefill_tokens = engine.long_prefill_token_threshold
        self._adaptive = engine.long_prefill_token_threshold_adaptive
        self.crowd_shortens = self._adaptive and self.long_prefill_tokens > 0
        """With every request that comes, a step gives each of them fewer tokens: who found no room for a chunk may find it
        for a shorter one."""

    def longest_chunk(self, live: int) -> int:
        """Tokens that a step gives one request at the most when ``live`` requests are here; 0 = as many as there are."""
        if live <= 1 or not self.long_prefill_tokens:
            return 0
        return max(self.long_prefill_tokens, self.input_tokens // live) if self._adaptive else self.long_prefill_tokens
