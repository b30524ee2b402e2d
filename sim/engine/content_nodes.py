"""The tree of contents below ``sim.engine.prefix_cache``: a ``ContentNode`` is a segment of prompts or an answer, a ``Run``
some blocks of one."""

from __future__ import annotations

from collections.abc import Hashable

from sim.engine.request import EngineRequest


class ContentNode:
    """A segment at one place of the tree of contents; it starts ``start`` tokens into the prompt."""

    __slots__ = ("children", "key", "parent", "pins", "runs", "start", "writer")

    def __init__(self, parent: ContentNode | None, key: tuple[int, Hashable], start: int) -> None:
        self.parent = parent
        self.key = key
        self.start = start
        self.children: dict[tuple[int, Hashable], ContentNode] | None = None
        """None: it never had one."""
        self.runs: list[Run] = []
        """Cached runs of this segment, first registered first."""
        self.pins = 0
        """Children, runs and live requests that end here; at 0 the node is forgotten."""
        self.writer: EngineRequest | None = None
        """The live request whose answer this segment is."""

    def child(self, key: tuple[int, Hashable]) -> ContentNode:
        """The node of segment ``key[1]`` that starts ``key[0]`` tokens into the prompt, behind this one."""
        if self.children is None:
            self.children = {}
        node = self.children.get(key)
        if node is None:
            node = self.children[key] = ContentNode(self, key, key[0])
            self.pins += 1
        return node

    def unpin(self) -> None:
        """Drop one reason to exist."""
        node: ContentNode | None = self
        while node is not None:
            node.pins -= 1
            parent = node.parent
            if node.pins or parent is None or parent.children is None:
                return
            del parent.children[node.key]
            node = parent


class Run:
    """Blocks [lo, hi) of one node with one fate: held by the same ``owners``, or together in the free list."""

    __slots__ = ("after", "before", "hi", "lo", "lost", "node", "owners", "readers")

    def __init__(self, node: ContentNode, lo: int, hi: int) -> None:
        self.node = node
        self.lo = lo
        self.hi = hi
        self.owners: set[EngineRequest] = set()
        self.lost = False
        """Nobody finds it any more, though it is held."""
        self.readers: list[EngineRequest] | None = None
        """Finished requests whose blocks these were, where somebody may still read them."""
        self.before: Run = self
        self.after: Run = self


def path_from(root: ContentNode, request: EngineRequest) -> list[tuple[ContentNode, int]]:
    """``(node, end)`` for each segment of prompt and answer below ``root``, the adapter part of every name; the last one is
    pinned."""
    path: list[tuple[ContentNode, int]] = []
    node, end = root, 0
    for name, tokens in request.content or (((request.request_id,), request.prompt_len),):
        if tokens:
            node = node.child((end, (request.lora, name) if request.lora else name))
            end += tokens
            path.append((node, end))
    answer = request.output_name or (request.request_id, "output")
    node = node.child((end, (request.lora, answer) if request.lora else answer))
    path.append((node, request.prompt_len))
    node.pins += 1
    return path
