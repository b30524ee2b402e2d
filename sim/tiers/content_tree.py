"""``ContentTree``: where the tokens of requests belong, for whoever keeps KV by its contents beside the GPU's own cache."""

from __future__ import annotations

from sim.engine.content_nodes import ContentNode, path_from
from sim.engine.request import EngineRequest

Path = list[tuple[ContentNode, int]]
"""``(node, end)`` of each segment of prompt and answer; the answer is the last one and grows."""


class ContentTree:
    """Equal prefixes lead to equal nodes, so (node, block) is the key of a block, as in ``PrefixBlockPool``."""

    def __init__(self) -> None:
        self._root = ContentNode(None, (0, ""), 0)
        self._root.pins = 1

    def path(self, request: EngineRequest) -> Path:
        """The path of ``request``, which is ``let_go`` one day."""
        if request.content is None and request.output_name is None:
            node = ContentNode(None, (0, ""), 0)  # nobody else will ever ask for it
            node.pins = 1
            return [(node, request.prompt_len)]
        return path_from(self._root, request)

    @staticmethod
    def let_go(path: Path) -> None:
        """Nobody walks ``path`` any more: its nodes stay as far as something of them is kept."""
        path[-1][0].unpin()

    @staticmethod
    def nodes(path: Path, block_size: int, first: int, end: int) -> list[ContentNode]:
        """Where the last token of each of the blocks [first, end) belongs."""
        segment, last = 0, len(path) - 1
        found = []
        for index in range(first, end):
            stop = (index + 1) * block_size
            while segment < last and path[segment][1] < stop:
                segment += 1
            found.append(path[segment][0])
        return found
