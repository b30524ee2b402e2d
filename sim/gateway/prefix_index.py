"""``PrefixIndex``: the gateway's own guess of a replica's cache. It remembers what was sent there, not what the engine has
kept. It works on segments of prompts instead of blocks (equal leading segments are equal blocks), so a look-up costs the
number of segments.

A segment's key names all that comes before it, and the deepest segments of a prompt are the first to be forgotten: who
knows a segment knows those before it. So the longest match among many replicas is found from the prompt's end: ``Holders``
tell who knows a segment, and a look-up costs who knows the prompt, not who is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Hashable

from sim.gateway.request import RequestView

Path = list[tuple[Hashable, int]]
"""Segments of a prompt: a key that names segment and everything before it, and where it ends, tokens."""


def path_of(request: RequestView) -> Path:
    """The segments of the prompt of ``request``."""
    if request.content is None:
        return [(("row", request.row), request.input_tokens)]
    path: Path = []
    key: Hashable = request.lora or None
    end = 0
    for name, tokens in request.content:
        key = hash((key, end, name))
        end += tokens
        path.append((key, end))
    return path


class PrefixIndex:
    """What was sent to one replica lately: an LRU of at most ``max_blocks`` blocks of ``block_tokens``."""

    def __init__(self, block_tokens: int, max_blocks: int, number: int = 0, holders: Holders | None = None) -> None:
        self.block_tokens = block_tokens
        self.max_blocks = max_blocks
        self.blocks = 0
        self._number = number
        self._holders = holders
        """Where it says which segments it knows; None = nobody asks."""
        self._ends: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def matched_tokens(self, path: Path) -> int:
        """Tokens of the longest known prefix, whole blocks."""
        matched = 0
        for key, end in path:
            known = self._ends.get(key)
            if known is None:
                break
            matched = min(known[0], end)
            if known[0] < end:
                break
        return matched // self.block_tokens * self.block_tokens

    def known_tokens(self, key: Hashable, end: int) -> int:
        """Tokens matched of a prompt whose last known segment is ``key``, which ends at ``end``; whole blocks."""
        return min(self._ends[key][0], end) // self.block_tokens * self.block_tokens

    def insert(self, path: Path) -> None:
        """Remember a prompt that was sent; the deepest segments are the first to be forgotten."""
        start = 0
        spans = []
        for key, end in path:
            spans.append((key, start, end))
            start = end
        for key, start, end in reversed(spans):
            before = self._ends.pop(key, None)
            if before is not None:
                self.blocks -= before[1]
                end = max(end, before[0])
            elif self._holders is not None:
                self._holders.setdefault(key, {})[self._number] = self
            blocks = end // self.block_tokens - start // self.block_tokens
            self._ends[key] = (end, blocks)
            self.blocks += blocks
        while self.blocks > self.max_blocks:
            key, (_, blocks) = self._ends.popitem(last=False)
            self.blocks -= blocks
            if self._holders is not None:
                holders = self._holders[key]
                del holders[self._number]
                if not holders:
                    del self._holders[key]


Holders = dict[Hashable, dict[int, PrefixIndex]]
"""Key of a segment -> number of a replica that knows it -> its index."""


def matched_by(path: Path, holders: Holders) -> dict[int, int]:
    """Number of a replica -> tokens of the longest prefix of ``path`` that it knows, whole blocks; who knows none is not
    there."""
    found: dict[int, int] = {}
    for key, end in reversed(path):
        for number, index in holders.get(key, {}).items():
            if number not in found:
                found[number] = index.known_tokens(key, end)
    return found


def longest_of(path: Path, holders: Holders, block_tokens: int, here: Container[int]) -> tuple[int, int]:
    """Tokens of the longest prefix of ``path`` that a replica ``here`` knows, and the least number of those that know it;
    (0, -1) = nobody knows any."""
    longest, first = 0, -1
    for key, end in reversed(path):
        if longest > end // block_tokens * block_tokens:
            break  # who knows no more than this does not come near
        for number, index in holders.get(key, {}).items():
            tokens = index.known_tokens(key, end)
            if tokens and number in here and (tokens > longest or (tokens == longest and number < first)):
                longest, first = tokens, number
    return longest, first
