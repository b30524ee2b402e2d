"""Links shared max-min fairly: cases by hand, and the laws of every sharing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.links.fair import max_min
from sim.links.transfers import Link, Transfers

NONE = math.inf


@pytest.mark.parametrize(
    ("rates", "paths", "limits", "shares"),
    [
        pytest.param([6.0], [[0], [0], [0]], [NONE] * 3, [2.0, 2.0, 2.0], id="equal_parts_of_one_link"),
        pytest.param([6.0], [[0], [0], [0]], [1.0, NONE, NONE], [1.0, 2.5, 2.5], id="what_one_cannot_take_the_others_get"),
        # Bertsekas and Gallager: a long path over both links, and two that use the second alone
        pytest.param([10.0, 3.0], [[0, 1], [1], [1], [0]], [NONE] * 4, [1.0, 1.0, 1.0, 9.0], id="the_bottleneck_decides"),
        pytest.param([4.0], [[0, 0]], [NONE], [4.0], id="a_link_twice_counts_once"),
        pytest.param([], [[]], [5.0], [5.0], id="no_link_its_own_limit"),
    ],
)
def test_shares_by_hand(rates: list[float], paths: list[list[int]], limits: list[float], shares: list[float]) -> None:
    assert max_min(rates, paths, limits) == pytest.approx(shares)


def test_two_loads_from_one_disk_by_hand() -> None:
    """100 bytes at 10/s; the second of 30 starts at 4 s: 60 left, 5/s each; it is over at 10, the first at 13."""
    disk, transfers = Link("disk", 10.0), Transfers()
    first = transfers.start(0.0, 100.0, [disk])
    assert transfers.next_end_s() == 10.0
    second = transfers.start(4.0, 30.0, [disk])
    assert (first.bytes_per_s, second.bytes_per_s) == (5.0, 5.0)
    assert transfers.next_end_s() == 10.0
    assert transfers.take_finished(10.0) == [second]
    assert transfers.next_end_s() == 13.0
    assert transfers.take_finished(13.0) == [first]
    assert disk.carried_bytes == 130.0
    assert transfers.next_end_s() == math.inf


def test_a_cancelled_transfer_leaves_its_share() -> None:
    disk, transfers = Link("disk", 10.0), Transfers()
    first, second = transfers.start(0.0, 100.0, [disk]), transfers.start(0.0, 100.0, [disk])
    transfers.cancel(10.0, second)
    assert transfers.next_end_s() == 15.0
    transfers.cancel(11.0, second)
    assert transfers.take_finished(15.0) == [first]
    assert disk.carried_bytes == 150.0


def test_what_is_set_up_takes_nothing_of_its_links_before_it_begins() -> None:
    disk, other, transfers = Link("disk", 10.0), Link("other", 10.0), Transfers()
    first = transfers.start(0.0, 100.0, [disk], begins_s=2.0)
    assert transfers.next_end_s() == 12.0, "alone, nobody has to come when it begins"
    second = transfers.start(1.0, 30.0, [disk], begins_s=4.0)
    assert transfers.next_end_s() == 2.0
    assert transfers.take_finished(2.0) == []
    assert (first.bytes_per_s, second.bytes_per_s, transfers.next_end_s()) == (10.0, 0.0, 4.0)
    assert transfers.take_finished(4.0) == []
    assert (first.bytes_per_s, second.bytes_per_s) == (5.0, 5.0)
    third = transfers.start(5.0, 10.0, [other], begins_s=5.5)
    transfers.cancel(5.25, third)
    assert transfers.take_finished(10.0) == [second]
    assert transfers.take_finished(transfers.next_end_s()) == [first]
    assert (disk.carried_bytes, other.carried_bytes) == (130.0, 0.0)


@pytest.mark.parametrize(
    ("rate", "end"),
    [
        pytest.param(10.0, 15.0, id="it_waits_for_what_is_held"),  # 80 at 8/s from 2 to 12, 20 at 10/s from 13 on
        pytest.param(5.0, 22.0, id="a_slow_link_never_waits"),  # 55 by 13, 45 at 5/s
    ],
)
def test_what_is_held_does_not_travel_before_it_is_there(rate: float, end: float) -> None:
    disk, transfers = Link("disk", rate), Transfers()
    first = transfers.start(0.0, 100.0, [disk], 8.0, begins_s=2.0, held_bytes=20.0, held_until_s=13.0)
    assert transfers.next_end_s() == end
    assert transfers.take_finished(end) == [first]
    assert disk.carried_bytes == 100.0


def test_what_waits_for_its_last_bytes_leaves_its_share_to_others() -> None:
    """20 at 2/s until 10; the other has 8/s, then all until 13, then half, then all."""
    disk, transfers = Link("disk", 10.0), Transfers()
    first = transfers.start(0.0, 40.0, [disk], 2.0, held_bytes=20.0, held_until_s=13.0)
    second = transfers.start(0.0, 200.0, [disk])
    rates = []
    while transfers.under_way:
        rates.append((transfers.next_end_s(), first.bytes_per_s, second.bytes_per_s))
        transfers.take_finished(transfers.next_end_s())
    assert rates == [(10.0, 2.0, 8.0), (13.0, 0.0, 10.0), (17.0, 5.0, 5.0), (24.0, 0.0, 10.0)]
    assert disk.carried_bytes == 240.0


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=1, max_size=6))
def test_a_later_beginning_is_a_start_at_that_time(jobs: list[tuple[int, int, int]]) -> None:
    """``(start, set-up, bytes)`` of transfers over one disk."""
    ends = []
    for later in (False, True):
        disk, transfers, done, now = Link("disk", 10.0), Transfers(), {}, 0.0
        waiting = sorted((float(s) if later else float(s + setup), n) for n, (s, setup, _) in enumerate(jobs))
        while waiting or transfers.under_way:
            now = min(waiting[0][0] if waiting else math.inf, transfers.next_end_s())
            done |= {transfer.owner: now for transfer in transfers.take_finished(now)}
            while waiting and waiting[0][0] <= now:
                number = waiting.pop(0)[1]
                begins, setup, size = jobs[number]
                transfers.start(now, float(size), [disk], owner=number, begins_s=float(begins + setup))
        ends.append(done)
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(lambda t: t.start(0.0, -1.0, [Link("l", 1.0)]), id="negative_size"),
        pytest.param(lambda t: t.start(0.0, math.nan, [Link("l", 1.0)]), id="nan_size"),
        pytest.param(lambda t: t.start(0.0, 1.0, []), id="neither_link_nor_limit"),
        pytest.param(
            lambda t: (t.start(5.0, 1.0, [Link("l", 1.0)]), t.start(4.0, 1.0, [Link("l", 1.0)])), id="time_runs_back"
        ),
        pytest.param(lambda t: Link("l", 0.0), id="a_link_without_a_rate"),
    ],
)
def test_nonsense_is_refused(start: Any) -> None:
    with pytest.raises(ValueError, match=r"must hold|needs a link|runs back"):
        start(Transfers())


RATES = st.floats(0.1, 1e3)
PLANS = st.lists(
    st.tuples(
        st.floats(0, 50), st.floats(0, 1e4), st.sets(st.integers(0, 3), min_size=1), st.one_of(st.none(), RATES),
        st.one_of(st.none(), st.tuples(st.floats(0, 1), st.floats(0, 30))),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(st.lists(RATES, min_size=4, max_size=4), PLANS)
def test_bytes_are_conserved_and_no_link_is_faster_than_it_is(rates: list[float], plan: list[Any]) -> None:
    """Whatever starts when, and whatever of it is held for how long: every transfer delivers its bytes once, no link ever
    carries more than its rate, and whoever could have more is held back by a full link where it has as much as anybody."""
    links = [Link(str(index), rate) for index, rate in enumerate(rates)]
    transfers, done, now = Transfers(), [], 0.0
    waiting = sorted(plan, key=lambda item: item[0])
    while waiting or transfers.under_way:
        at_s = min(waiting[0][0] if waiting else math.inf, transfers.next_end_s())
        before = [link.carried_bytes for link in links]
        done += transfers.take_finished(at_s)
        while waiting and waiting[0][0] <= at_s:
            _, size, path, limit, held = waiting.pop(0)
            share, for_s = held or (0.0, 0.0)
            transfers.start(
                at_s, size, [links[i] for i in sorted(path)], math.inf if limit is None else limit,
                held_bytes=size * share, held_until_s=at_s + for_s if held else 0.0,
            )  # fmt: skip
        for link, carried in zip(links, before, strict=True):
            assert link.carried_bytes - carried <= link.bytes_per_s * (at_s - now) * (1 + 1e-9) + 1e-6
        now = at_s
        assert_fair(transfers, links, now)
    assert len(done) == len(plan)
    assert sum(link.carried_bytes for link in links) == pytest.approx(sum(size * len(path) for _, size, path, *_ in plan))


def assert_fair(transfers: Transfers, links: list[Link], now: float) -> None:
    used = {link: sum(t.bytes_per_s for t in transfers.under_way if link in t.path) for link in links}
    for link in links:
        assert used[link] <= link.bytes_per_s * (1 + 1e-9)
    for transfer in transfers.under_way:
        free = transfer.held_bytes and transfer.held_until_s <= now
        if transfer.waits(now) or (not free and transfer.bytes_per_s >= transfer.limit_bytes_per_s * (1 - 1e-9)):
            continue
        assert any(
            used[link] >= link.bytes_per_s * (1 - 1e-9)
            and transfer.bytes_per_s >= max(t.bytes_per_s for t in transfers.under_way if link in t.path) * (1 - 1e-9)
            for link in transfer.path
        )
