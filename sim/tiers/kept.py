"""What offloading keeps of a request, and of its transfers."""

from __future__ import annotations

from sim.engine.content_nodes import Run
from sim.engine.freed_blocks import Handed
from sim.engine.request import EngineRequest
from sim.tiers.content_tree import Path
from sim.tiers.recency import Chunk, Key, Touches


class Job:
    """Blocks of a request on their way to the tier, or out of it."""

    __slots__ = ("blocks", "chunks", "end", "heard", "loads", "number", "request")

    def __init__(self, number: int, request: EngineRequest, blocks: list[int], chunks: list[Chunk], loads: bool) -> None:
        self.number = number
        self.request = request
        self.blocks = blocks
        self.chunks = chunks
        self.loads = loads
        self.end: float | None = None
        """When it is done; None = not begun."""
        self.heard = False
        """Its end has reached the scheduler."""


class Kept:
    """What offloading keeps of one request."""

    __slots__ = ("cursor", "finished", "held", "jobs", "keys", "listed", "over", "path", "touches", "waits_until")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: list[Key] = []
        """Of its leading chunks, as far as they were asked for."""
        self.cursor = 0
        """Leading chunks that were offered, or loaded."""
        self.listed = 0
        """Blocks of its table when it was last served."""
        self.touches = Touches()
        self.finished = False
        """It has its last token; ``over``: and all was offered."""
        self.over = False
        self.held: list[Chunk] = []
        """A run that stays in host memory while it waits for the rest."""
        self.waits_until: float | None = None
        """It has asked the tiers below, and takes by then what has come; None = it may ask."""
        self.jobs: list[Job] = []
        """Transfers that were not reported yet."""


class Passed:
    """A GPU block that store ``job`` reads is block ``place`` of ``taker`` now; whoever finds it there before the store was
    reported makes the step wait for it again."""

    __slots__ = ("job", "place", "taker")

    def __init__(self, job: Job, taker: EngineRequest, place: int) -> None:
        self.job = job
        self.taker = taker
        self.place = place

    def reads(self) -> bool:
        """Whether the store was not reported yet."""
        return not self.job.heard

    def found_by(self, request: EngineRequest) -> bool:
        """Whether ``request``, just admitted, found it in the GPU's cache."""
        if request is self.taker:
            return False
        runs: list[Run] = request.runs
        return any(run.lo <= self.place < run.hi and self.taker in run.owners for run in runs)


def passed_on(job: Job, handed: Handed) -> list[Passed]:
    """The blocks that ``job`` reads among those ``handed`` out, where it is known who has them now."""
    taker = handed.taker
    if taker is None or taker is handed.former:
        return []
    blocks = [block for block in job.blocks if handed.first <= block < handed.end]
    return [Passed(job, taker, handed.place + handed.end - 1 - block) for block in blocks]
