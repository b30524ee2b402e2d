"""``Work``: what an engine has done, in steps, time and tokens. Times are in the clock's unit."""

from __future__ import annotations

from collections.abc import Iterable

from sim.engine.batch import Batch, Speculation
from sim.engine.gaps import GapHistogram


class Work:
    """A batch counts whole when it is final; ``stop_at`` takes back what of it never ran. ``gaps`` collects those between
    tokens."""

    __slots__ = ("_gaps", "block_time", "busy", "prefill_tokens", "sampled_tokens", "seq_time", "steps")

    def __init__(self, gaps: GapHistogram | None) -> None:
        self._gaps = gaps
        self.steps = 0
        self.busy = 0.0
        """Time in which a step ran."""
        self.seq_time = 0.0
        """Scheduled sequences, integrated over time."""
        self.block_time = 0.0
        """KV blocks in use, likewise."""
        self.prefill_tokens = 0
        self.sampled_tokens = 0

    def add(self, batch: Batch, used_blocks: int) -> None:
        """``batch`` is final and leaves ``used_blocks`` in use."""
        steps = batch.steps
        duration = batch.end - batch.start
        n = batch.n_decode
        self.steps += steps
        self.busy += duration
        batch.held_blocks = (batch.used_blocks + used_blocks) / 2
        self.block_time += (batch.end - batch.since) * batch.held_blocks
        brought, seqs, speculation = n, n + len(batch.prefills), batch.speculation
        if speculation is None:
            for _, tokens, _ in batch.prefills:
                self.prefill_tokens += tokens
            self.sampled_tokens += n * steps + len(batch.sampled)
        else:  # its tokens are counted when it returns
            for tokens, _ in speculation.prompts:
                self.prefill_tokens += tokens
            brought += speculation.verifying
            seqs += len(speculation.alike)
        self.seq_time += duration * seqs
        if self._gaps is not None and brought:
            self._gaps.add(batch.first, batch.duration_of(steps - 1), steps, brought)

    def goes_on(self, batch: Batch, moment: float, before: int, after: int) -> None:
        """At ``moment`` blocks are taken beside open ``batch``: ``before``, and from then on ``after`` are in use."""
        self.block_time += (moment - batch.since) * (batch.used_blocks + before) / 2
        batch.since = moment
        batch.used_blocks = after

    def returned(self, speculation: Speculation) -> None:
        """The output of a batch with ``speculation`` is here: only now its tokens are known."""
        self.sampled_tokens += speculation.tokens

    def busy_by(self, now: float, batches: Iterable[Batch], plan: Batch | None) -> float:
        """Time in which a step ran, up to ``now``, while ``batches`` are out and ``plan`` among them is not final."""
        busy = self.busy
        for batch in batches:
            if batch is plan:
                busy += max(0.0, min(now, batch.end) - batch.start)
            elif batch.end > now:
                busy -= batch.end - max(now, batch.start)
        return busy

    def stop_at(self, now: float, batches: Iterable[Batch]) -> None:
        """The engine stops with ``batches``, all final, under way."""
        self.busy = self.busy_by(now, batches, None)
        for batch in batches:
            unused = batch.end - max(now, batch.start)
            if unused > 0.0:
                alike = 0 if batch.speculation is None else len(batch.speculation.alike)
                self.seq_time -= unused * (batch.n_decode + len(batch.prefills) + alike)
                self.block_time -= unused * batch.held_blocks
