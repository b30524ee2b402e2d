"""The search over prefill and decode replicas finds what an exhaustive walk finds, and asks for few points."""

from __future__ import annotations

import math
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from sim.search.pair import cheapest_pair
from sim.search.point import Point

LIMITS = {"ttft_p95_s": 2.0, "tpot_p95_s": 0.1}


class Pools:
    """A monotone stand-in: TTFT by both kinds, which stand in for each other as far as ``traded``, TPOT by decode alone."""

    def __init__(self, prefill: float, decode: float, traded: float) -> None:
        self.needed = (prefill, decode)
        self.traded = traded
        self.asked: list[tuple[int, int]] = []

    def __call__(self, prefill: int, decode: int) -> Point:
        self.asked.append((prefill, decode))
        tpot = self.needed[1] / decode
        carried = prefill + self.traded * (decode - self.needed[1])
        ttft = self.needed[0] / carried if carried > 0 else 9.0
        missed = tuple(name for name, use in zip(LIMITS, (ttft, tpot), strict=True) if use > 1)
        attained = {"ttft_p95_s": 2 * ttft, "tpot_p95_s": 0.1 * tpot}
        return Point(
            prefill + decode, 1.0, "fail" if missed else "pass", attained, LIMITS, missed,
            pools=(("p", prefill), ("d", decode)),
        )  # fmt: skip


SIZES = st.floats(0.2, 9)


@given(prefill=SIZES, decode=SIZES, traded=st.floats(0, 2), start=st.tuples(st.integers(1, 12), st.integers(1, 12)),
       usd=st.tuples(st.sampled_from((0.5, 1.0, 4.0)), st.sampled_from((0.7, 1.0, 2.0))))  # fmt: skip
def test_the_cheapest_pair_equals_the_exhaustive_walk(
    prefill: float, decode: float, traded: float, start: tuple[int, int], usd: tuple[float, float]
) -> None:
    most = 12
    pools = Pools(prefill, decode, traded)
    found = cheapest_pair(pools, usd=usd, start=start, most=most, decode_alone=True)
    whole = Pools(prefill, decode, traded)
    holding = [(p, d) for p, d in product(range(1, most + 1), repeat=2) if whole(p, d).holds]
    assert found.feasible == bool(holding)
    assert len(pools.asked) == len(set(pools.asked))
    if holding:
        p, d = (count for _, count in found.nearest.pools)
        assert found.nearest.holds and found.best is found.nearest
        assert math.isclose(usd[0] * p + usd[1] * d, min(usd[0] * p + usd[1] * d for p, d in holding))


def test_a_good_guess_costs_few_runs() -> None:
    pools = Pools(3.4, 2.6, 0.0)
    found = cheapest_pair(pools, usd=(1.0, 1.0), start=(4, 3), most=64, decode_alone=True)
    assert found.nearest.pools == (("p", 4), ("d", 3))
    assert len(pools.asked) <= 6
