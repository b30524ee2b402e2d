"""``HostLink``: copies between an engine's GPUs and its host memory, stores and loads each in order, beside each other; and
in what manner they are made."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sim.tiers.kept import Job


class Copying(NamedTuple):
    """Time of a job of n blocks, in the clock's unit: ``base`` + n x ``store`` or ``load``."""

    base: float
    store: float
    load: float


class Manner(NamedTuple):
    """Whose way of doing it: vLLM's own unless stated otherwise."""

    prompt_only: bool = False
    """Generated tokens are not stored."""
    loads: Literal["beside", "in_step", "by_layer"] = "beside"
    chunk_blocks: int = 1
    """GPU blocks that are stored, found and evicted as one."""
    least_tokens: int = 1
    """Fewer are computed, not loaded."""
    layers: int = 1


class HostLink:
    """The two streams of one engine."""

    def __init__(self, copying: Copying) -> None:
        self._copying = copying
        self._stores_free = 0.0
        self._loads_free = 0.0
        self.storing = 0.0
        """Time in which each stream was busy."""
        self.loading = 0.0

    def begin(self, job: Job, now: float) -> float:
        """``job`` is next in its stream from ``now`` on; returns when it ends."""
        if job.loads:
            time = self._time(job)
            self.loading += time
            end = self._loads_free = max(now, self._loads_free) + time
        else:
            time = self._copying.base + len(job.blocks) * self._copying.store
            self.storing += time
            end = self._stores_free = max(now, self._stores_free) + time
        job.end = end
        return end

    def in_step(self, job: Job, now: float) -> float:
        """``job`` is a load within the step that is being composed, and reported with it; returns how long it takes."""
        job.end = now
        time = self._time(job)
        self.loading += time
        return time

    def _time(self, job: Job) -> float:
        return self._copying.base + len(job.blocks) * self._copying.load
