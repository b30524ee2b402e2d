"""What the gateway remembers of its replicas: one tree of runs of segments answers as an LRU of segments for each would."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.gateway.prefix_tree import PrefixIndex, PrefixTree, longest_of
from sim.gateway.request import ClientRequest

REPLICAS = 3


class NaiveIndex:
    """Every segment by itself, by the names of all up to it and where it starts; deepest segments are forgotten first."""

    def __init__(self, block_tokens: int, max_blocks: int) -> None:
        self.block_tokens = block_tokens
        self.max_blocks = max_blocks
        self.known: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    @staticmethod
    def path(request: ClientRequest) -> list[tuple[Hashable, int, int]]:
        path, key, start = [], (request.lora,), 0
        whole = ((("row", request.row), request.input_tokens),)
        for name, tokens in request.content if request.content is not None else whole:
            key = (key, start, name)  # type: ignore[assignment]
            path.append((key, start, start + tokens))
            start += tokens
        return path

    def blocks(self) -> int:
        return sum(end // self.block_tokens - start // self.block_tokens for start, end in self.known.values())

    def matched(self, request: ClientRequest) -> int:
        matched = 0
        for key, _, end in self.path(request):
            if key not in self.known:
                break
            matched = min(self.known[key][1], end)
            if self.known[key][1] < end:
                break
        return matched // self.block_tokens * self.block_tokens

    def insert(self, request: ClientRequest) -> None:
        for key, start, end in reversed(self.path(request)):
            _, before = self.known.pop(key, (0, 0))
            self.known[key] = (start, max(end, before))
        while self.blocks() > self.max_blocks:
            self.known.popitem(last=False)


def asked(row: int, content: tuple[tuple[Hashable, int], ...] | None, lora: str = "") -> ClientRequest:
    tokens = sum(tokens for _, tokens in content) if content is not None else 20
    request = ClientRequest(row, 0.0, tokens)
    request.content = content
    request.lora = lora
    return request


SEGMENT = st.tuples(st.sampled_from("aab"), st.sampled_from((4, 4, 4, 6, 9)))
PROMPT = st.one_of(st.none(), st.lists(SEGMENT, max_size=7).map(tuple))


@pytest.mark.parametrize("max_blocks", [3, 12, 40, 1000])
@given(st.lists(st.tuples(PROMPT, st.sampled_from(("", "", "x")), st.integers(0, REPLICAS - 1)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_runs_of_segments_answer_as_segments_do(
    max_blocks: int, story: list[tuple[tuple[tuple[Hashable, int], ...] | None, str, int]]
) -> None:
    """Matches, sizes and what is forgotten, of prompts that part anywhere and end anywhere."""
    tree = PrefixTree()
    indices = [PrefixIndex(4, max_blocks, number) for number in range(REPLICAS)]
    naive = [NaiveIndex(4, max_blocks) for _ in range(REPLICAS)]
    for row, (content, lora, replica) in enumerate(story):
        request = asked(row % 9, content, lora)
        way = tree.way_of(request)
        matches = [one.matched(request) for one in naive]
        assert [index.matched_tokens(way) for index in indices] == matches
        longest = max(matches)
        assert longest_of(way, 4, range(REPLICAS)) == ((longest, matches.index(longest)) if longest else (0, -1))
        indices[replica].insert(way)
        naive[replica].insert(request)
        assert [index.blocks for index in indices] == [one.blocks() for one in naive]


def test_what_nobody_knows_is_not_kept() -> None:
    """A small memory and a long story: nodes are those of the prompts that are remembered."""
    tree, index = PrefixTree(), PrefixIndex(4, 20, 0)
    for row in range(500):
        index.insert(tree.way_of(asked(row, (("system", 16), (("turn", row % 40), 8), (("row", row), 8)))))
    system = tree.way_of(asked(0, (("system", 16),))).steps[-1][0]
    assert system.children is not None
    assert len(system.children) <= 4


def test_prompts_of_two_adapters_share_no_prefix() -> None:
    tree, index = PrefixTree(), PrefixIndex(16, 100, 0)
    content = ((("prefix", 1), 64), (("row", 0), 36))
    index.insert(tree.way_of(asked(0, content, "a")))
    matches = {lora: index.matched_tokens(tree.way_of(asked(0, content, lora))) for lora in ("a", "b", "")}
    assert matches == {"a": 96, "b": 0, "": 0}
