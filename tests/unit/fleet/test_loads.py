"""The load index: whatever changes, it names the server that a walk over all would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.fleet.loads import LoadIndex

CHANGES = st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 5)), max_size=300)


@given(CHANGES)
def test_the_least_loaded_is_the_first_of_a_walk(changes: list[tuple[int, int | None]]) -> None:
    index = LoadIndex()
    loads: dict[int, int] = {}
    for number, load in changes:
        if load is None:
            index.remove(number)
            loads.pop(number, None)
        else:
            index.put(number, load)
            loads[number] = load
        assert index.least() == min(sorted(loads), key=loads.__getitem__, default=-1)


def test_a_load_that_falls_and_grows_for_ever_takes_no_room() -> None:
    index = LoadIndex()
    index.put(1, 0)
    for step in range(10_000):
        index.put(0, 5 + step % 2)
        index.put(0, 3)
    assert index.least() == 1
    assert len(index._heap) < 100
