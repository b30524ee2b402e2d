"""Routers that follow prefixes, by hand. Sources: the head of ``sim.gateway.cache_aware`` and ``weighted_score``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.gateway.cache_aware import SglangCacheAwareRouter
from sim.gateway.request import ClientRequest
from sim.gateway.weighted_score import WeightedScoreRouter
from sim.spec.gateway.routing import SglangCacheAware, WeightedScore
from tests.contract.test_gateway_policies import FixedSignals, Replica


def request(row: int, content: Any = None, tokens: int = 1000) -> ClientRequest:
    made = ClientRequest(row, 0.0, tokens)
    made.content = content
    return made


def sglang(**spec: Any) -> SglangCacheAwareRouter:
    return SglangCacheAwareRouter(SglangCacheAware(**spec))


def llm_d(**spec: Any) -> WeightedScoreRouter:
    return WeightedScoreRouter(WeightedScore(**spec), FixedSignals(0.0), np.random.default_rng(0))  # type: ignore[arg-type]


@pytest.mark.parametrize("router", [sglang(), llm_d()], ids=["sglang", "llm_d"])
def test_a_prefix_stays_where_it_is_and_what_is_new_is_spread(router: Any) -> None:
    servers = [Replica(index) for index in range(4)]
    home: dict[str, set[int]] = {}
    for row in range(80):
        name = "abcd"[row % 4]
        content = (((name,), 900), (("row", row), 100))
        home.setdefault(name, set()).add(router.choose(request(row, content), servers).index)
    assert all(len(replicas) == 1 for replicas in home.values())


class TestSglang:
    def test_a_match_of_more_than_three_tenths_is_followed(self) -> None:
        """Prompts of 1,000 tokens in blocks of 16: 304 tokens match 0.304 and are followed, 288 are not above 0.3 and go to
        the smallest tree."""
        for shared, follows in ((304, True), (288, False)):
            router, servers = sglang(), [Replica(0), Replica(1)]
            first = router.choose(request(0, ((("p",), shared), (("row", 0), 1000 - shared))), servers)
            assert first.index == 0
            second = router.choose(request(1, ((("p",), shared), (("row", 1), 1000 - shared))), servers)
            assert (second.index == 0) is follows

    @pytest.mark.parametrize(
        ("loads", "chosen"), [((64, 0), 0), ((65, 0), 1), ((200, 136), 0), ((200, 134), 0), ((200, 133), 1)]
    )
    def test_the_prefix_is_given_up_beyond_64_requests_and_one_and_a_half_times(
        self, loads: tuple[int, int], chosen: int
    ) -> None:
        """Unbalanced: max - min > 64 and max > 1.5 x min. 200 against 134: 66 more, but 200 < 201."""
        router = sglang()
        content = (("p", 1000),)
        assert router.choose(request(0, content), [Replica(0), Replica(1)]).index == 0
        servers = [Replica(index, load) for index, load in enumerate(loads)]
        assert router.choose(request(1, content), servers).index == chosen


class TestLlmD:
    def test_the_queue_is_scored_between_the_shortest_and_the_longest(self) -> None:
        """Queues 4, 6, 8 score 1, 0.5, 0 (``queue.go``), times 2. The prefix (63 of 63 blocks, times 3) at the middle one
        makes 4 against 2; at the longest 3 against 2. With KV 0.9 used there it is 3 + 0.2 against 2 + 2."""
        content = (("p", 1008),)
        for home, kv, chosen in ((1, 0.0, 1), (2, 0.0, 2), (2, 0.9, 0)):
            router = llm_d()
            empty = [Replica(index) for index in range(3)]
            router.choose(request(0, content, 1008), [empty[home]])
            servers = [Replica(0, 4), Replica(1, 6), Replica(2, 8, 0, kv if home == 2 else 0.0)]
            assert router.choose(request(1, content, 1008), servers).index == chosen

    def test_equal_queues_score_one_however_long(self) -> None:
        """Queues of 50 each score 1 each: the emptier KV cache decides."""
        assert llm_d().choose(request(0), [Replica(0, 50, 0, 0.6), Replica(1, 50, 0, 0.5)]).index == 1

    def test_a_prompt_is_looked_at_up_to_256_blocks(self) -> None:
        """256 x 16 = 4,096 tokens: what follows makes no difference."""
        router = llm_d(queue_weight=0.0, kv_weight=1.0)
        long = ((("p",), 4096), (("row", 0), 8000))
        router.choose(request(0, long, 12096), [Replica(0)])
        again = ((("p",), 4096), (("row", 1), 8000))
        # 3 x 256 / 256 + 0.1 at the home, against 1.0
        assert router.choose(request(1, again, 12096), [Replica(0, kv_used=0.9), Replica(1)]).index == 0

    def test_the_index_holds_as_many_blocks_as_the_replica(self) -> None:
        """4,000 blocks of 16 (``FixedSignals``): the 65th prompt of 1,008 tokens (63 blocks) pushes the first out."""
        router = llm_d()
        for row in range(64):
            router.choose(request(row, ((("p", row), 1008),), 1008), [Replica(0)])
        index = router._indices["main-0"]
        assert index.blocks == 63 * 63
        ways = [router._tree.way_of(request(row, ((("p", row), 1008),), 1008)) for row in (0, 63)]
        assert [index.matched_tokens(way) for way in ways] == [0, 1008]
