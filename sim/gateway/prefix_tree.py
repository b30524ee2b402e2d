"""``PrefixTree``: the gateway's own guess of its replicas' caches. It remembers what was sent there, not what engines have
kept: of every replica an LRU of at most ``max_blocks`` blocks, whose grain is a segment of a prompt (equal leading segments
are equal blocks).

As in SGLang's router, all replicas share one tree. A ``PrefixNode`` is a run of segments that nobody has yet told apart:
what only one prompt has is one node, however long, and a prompt that leaves a node halfway cuts it in two. So a look-up
costs the places where prompts part, and comparing the segments up to there.

A prompt touches its deepest segments first, so these are the first to be forgotten: what a replica knows of a node is its
beginning, and who knows a node knows those before it. The longest match among many replicas is therefore found from the
prompt's end, and costs who knows the prompt, not who is there. Two prompts may hold the same last segment to unlike lengths
(the text of a turn, cut): the longer is what is known, and what follows begins where each ends.

Source: sgl-router ``src/tree.rs`` (whose edges are text, and whose eviction takes leaves by the time of their last access).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from itertools import islice

from sim.engine.request import Content
from sim.gateway.request import RequestView


class PrefixNode:
    """Segments ``names``, the first of which starts ``start`` tokens into the prompts that have them."""

    __slots__ = ("children", "ends", "knowing", "names", "parent", "start")

    def __init__(self, parent: PrefixNode | None, names: list[Hashable], start: int, ends: list[int]) -> None:
        self.parent = parent
        self.names = names
        self.start = start
        self.ends = ends
        """Where each ends, tokens into the prompt. Names and ends stand apart: a tuple for each of a million segments would
        cost the collector more than the run."""
        self.children: dict[tuple[int, Hashable], PrefixNode] | None = None
        """What follows the last segment, by where it starts and its first name; None: nothing ever did."""
        self.knowing: dict[int, Known] = {}
        """By number of the replica."""

    def adopt(self, child: PrefixNode) -> None:
        """``child`` follows this one."""
        if self.children is None:
            self.children = {}
        self.children[child.start, child.names[0]] = child
        child.parent = self

    def cut(self, segments: int) -> None:
        """Keep the first ``segments`` segments; the rest, as far as somebody knows it, becomes a child."""
        deep = PrefixNode(self, self.names[segments:], self.ends[segments - 1], self.ends[segments:])
        for number, known in self.knowing.items():
            if known.segments > segments:
                deep.knowing[number] = known.without(deep, segments)
        del self.names[segments:], self.ends[segments:]
        followers, self.children = self.children, None
        if deep.knowing:
            for child in (followers or {}).values():
                deep.adopt(child)
            self.adopt(deep)

    def forgotten_by(self, number: int) -> None:
        """Replica ``number`` knows nothing more of this; a node that nobody knows goes."""
        del self.knowing[number]
        if not self.knowing and self.parent is not None and self.parent.children is not None:
            del self.parent.children[self.start, self.names[0]]


class Known:
    """What one replica knows of a node: its first ``segments`` segments, as far as ``end`` tokens into the prompt."""

    __slots__ = ("after", "before", "end", "node", "segments")

    def __init__(self, node: PrefixNode, segments: int, end: int) -> None:
        self.node = node
        self.segments = segments
        self.end = end
        self.before: Known = self
        self.after: Known = self
        """In the ring of its replica: the next to be forgotten follows the ring's head, the newest precedes it."""

    def without(self, deep: PrefixNode, segments: int) -> Known:
        """Keep the first ``segments``; returns what was known of the rest, which is ``deep`` and the older of the two."""
        rest = Known(deep, self.segments - segments, self.end)
        self.segments, self.end = segments, deep.start
        rest.link(self)
        return rest

    def shorten(self) -> None:
        """Forget the last segment."""
        self.segments -= 1
        self.end = self.node.ends[self.segments - 1] if self.segments else self.node.start

    def link(self, after: Known) -> None:
        """Stand in the ring just before ``after``."""
        self.before, self.after = after.before, after
        after.before.after = after.before = self

    def unlink(self) -> None:
        """Leave the ring."""
        self.before.after, self.after.before = self.after, self.before


class Way:
    """How far a prompt goes down the tree."""

    __slots__ = ("content", "end", "of_last", "segments", "steps")

    def __init__(self, content: Content, root: PrefixNode) -> None:
        self.content = content
        self.steps: list[tuple[PrefixNode, int]] = [(root, 0)]
        """The nodes that it meets from the root on, and to how many tokens it may agree with who knows each."""
        self.of_last = 0
        """Segments that it meets of the last of them."""
        self.segments = 0
        """Segments that it meets in all."""
        self.end = 0
        """Tokens of these, in this prompt."""

    def rest_behind(self, parent: PrefixNode) -> PrefixNode:
        """The segments that nobody has met."""
        names: list[Hashable] = []
        ends: list[int] = []
        end = self.end
        for name, tokens in self.content[self.segments :]:
            end += tokens
            names.append(name)
            ends.append(end)
        return PrefixNode(parent, names, self.end, ends)


class PrefixTree:
    """What the replicas of one gateway were sent."""

    def __init__(self) -> None:
        self._roots: dict[str, PrefixNode] = {}
        """By adapter: no KV of one is good for another."""

    def way_of(self, request: RequestView) -> Way:
        """The way of the prompt of ``request``."""
        root = self._roots.get(request.lora)
        if root is None:
            root = self._roots[request.lora] = PrefixNode(None, [], 0, [])
        content = request.content
        way = Way(content if content is not None else ((("row", request.row), request.input_tokens),), root)
        node, left = root, len(way.content)
        while left and node.children is not None:
            child = node.children.get((way.end, way.content[-left][0]))
            if child is None:
                break
            self._meet(way, child)
            left = len(way.content) - way.segments
            if way.of_last < len(child.names):
                break
            node = child
        return way

    @staticmethod
    def _meet(way: Way, node: PrefixNode) -> None:
        """``way`` goes on through ``node`` until they part."""
        content, names, ends = way.content, node.names, node.ends
        begin = way.segments
        both = min(len(names), len(content) - begin)
        met = 0
        end = agreed = way.end
        while met < both:
            name, tokens = content[begin + met]
            if name != names[met]:
                break
            end += tokens
            agreed = end
            their_end = ends[met]
            met += 1
            if end != their_end:
                if met < len(names):
                    agreed = min(end, their_end)
                break
        way.steps.append((node, agreed))
        way.of_last = met
        way.segments = begin + met
        way.end = end


class PrefixIndex:
    """What was sent to replica ``number`` lately: at most ``max_blocks`` blocks of ``block_tokens``."""

    def __init__(self, block_tokens: int, max_blocks: int, number: int) -> None:
        self.block_tokens = block_tokens
        self.max_blocks = max_blocks
        self.number = number
        self.blocks = 0
        self._ring = Known(PrefixNode(None, [], 0, []), 0, 0)

    def matched_tokens(self, way: Way) -> int:
        """Tokens of the longest known prefix, whole blocks."""
        for node, agreed in reversed(way.steps):
            known = node.knowing.get(self.number)
            if known is not None:
                return min(known.end, agreed) // self.block_tokens * self.block_tokens
        return 0

    def insert(self, way: Way) -> None:
        """Remember a prompt that was sent; the deepest segments are the first to be forgotten. The tree may have nothing new
        since ``way`` was found."""
        steps = way.steps
        last = steps[-1][0]
        if way.of_last < len(last.names):
            last.cut(way.of_last)
        if way.segments < len(way.content):
            rest = way.rest_behind(last)
            last.adopt(rest)
            self._touch(rest, rest.ends[-1])
        end = way.end
        for node, agreed in reversed(steps[1:]):
            self._touch(node, end if node is last else agreed)
        while self.blocks > self.max_blocks:
            self._forget(self._ring.after)

    def _touch(self, node: PrefixNode, end: int) -> None:
        """All of ``node`` was sent, whose last segment ends at ``end``."""
        known = node.knowing.get(self.number)
        if known is None:
            known = node.knowing[self.number] = Known(node, 0, node.start)
        else:
            known.unlink()
        known.segments = len(node.names)
        if end > known.end:
            self.blocks += end // self.block_tokens - known.end // self.block_tokens
            known.end = end
        known.link(self._ring)

    def _forget(self, known: Known) -> None:
        """The last segment of ``known``."""
        end = known.end
        known.shorten()
        self.blocks -= end // self.block_tokens - known.end // self.block_tokens
        if not known.segments:
            known.unlink()
            known.node.forgotten_by(self.number)


_FEW = 8
"""So many that know a prompt are looked at one by one; of more, first those with the least numbers."""


def longest_of(way: Way, block_tokens: int, here: Collection[int]) -> tuple[int, int]:
    """Tokens of the longest prefix that a replica ``here`` (in order of their numbers) knows, whole blocks, and the least
    number of those that know it; (0, -1) = nobody knows any."""
    longest, first = 0, -1
    for node, agreed in reversed(way.steps):
        most = agreed // block_tokens * block_tokens
        if longest > most:
            break  # who knows no more than this does not come near
        number = _first_that_knows(node, most, here) if len(node.knowing) > _FEW and most else -1
        if number >= 0:
            if most > longest or number < first:
                longest, first = most, number
            continue
        for number, known in node.knowing.items():
            tokens = min(known.end, agreed) // block_tokens * block_tokens
            if tokens and number in here and (tokens > longest or (tokens == longest and number < first)):
                longest, first = tokens, number
    return longest, first


def _first_that_knows(node: PrefixNode, tokens: int, here: Collection[int]) -> int:
    """The least number ``here`` of those that know ``tokens`` tokens up to ``node``; -1 = it is not among the first."""
    for number in islice(here, len(node.knowing)):
        known = node.knowing.get(number)
        if known is not None and known.end >= tokens:
            return number
    return -1
