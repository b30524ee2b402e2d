"""What ``GroupedBlockPool`` keeps of blocks and requests: hashed blocks, block tables, and what a look-up found."""

from __future__ import annotations

from sim.engine.content_nodes import ContentNode


class CachedBlock:
    """A block with a hash: block ``index`` of the contents ``node``, in one group."""

    __slots__ = ("group", "index", "node", "refs")

    def __init__(self, group: int, node: ContentNode, index: int) -> None:
        self.group = group
        self.node = node
        self.index = index
        self.refs = 1


class Holding:
    """The block tables of one running request: per group, blocks [first, end), and those of them that have a hash."""

    __slots__ = ("end", "first", "given", "hashed", "junction", "registered", "step")

    def __init__(self, groups: int, junction: int) -> None:
        self.first = [0] * groups
        self.end = [0] * groups
        self.hashed: list[dict[int, CachedBlock]] = [{} for _ in range(groups)]
        self.registered = 0
        """Leading blocks that the cache has seen."""
        self.junction = junction
        self.given = 0
        """Tokens of the last step that served it, and that step's number."""
        self.step = 0


class Hit:
    """What a look-up found: the first ``blocks`` blocks, in each group from ``first`` on; ``free`` of them unreferenced."""

    __slots__ = ("blocks", "first", "found", "free", "junction")

    def __init__(self, groups: int) -> None:
        self.blocks = 0
        self.first = [0] * groups
        self.found: list[list[CachedBlock]] = [[] for _ in range(groups)]
        self.free = 0
        self.junction = 0
