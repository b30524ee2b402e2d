"""What offloading keeps of a request, and of its transfers."""

from __future__ import annotations

from sim.engine.request import EngineRequest
from sim.tiers.content_tree import Path
from sim.tiers.recency import Chunk, Touches


class Job:
    """Blocks of a request on their way to the tier, or out of it."""

    __slots__ = ("blocks", "chunks", "end", "loads", "number", "request")

    def __init__(self, number: int, request: EngineRequest, blocks: list[int], chunks: list[Chunk], loads: bool) -> None:
        self.number = number
        self.request = request
        self.blocks = blocks
        self.chunks = chunks
        self.loads = loads
        self.end: float | None = None
        """When it is done; None = not begun."""


class Kept:
    """What offloading keeps of one request."""

    __slots__ = ("cursor", "finished", "held", "jobs", "listed", "over", "path", "touches", "waits_until")

    def __init__(self, path: Path) -> None:
        self.path = path
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
