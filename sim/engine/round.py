"""``Round``: one forward of all ranks of a group, or a run of equal decode-only ones in closed form."""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.perf.rank_step import RankLoad


class Round(Batch):
    """A batch of every rank; its own times are theirs, ``n_decode`` and ``context`` are those of all ranks."""

    __slots__ = ("batches", "counter", "load", "wave")

    def __init__(self, batches: list[Batch | None], load: RankLoad, wave: int, counter: int) -> None:
        n_decode = context = 0
        for batch in batches:
            if batch is not None:
                n_decode += batch.n_decode
                context += batch.context
        super().__init__(n_decode, context)
        self.batches = batches
        """By rank; None = a dummy forward."""
        self.load = load
        self.wave = wave
        self.counter = counter
        """Forwards of the wave before it."""
