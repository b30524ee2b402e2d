"""``LoadIndex``: the least loaded of many servers without looking at all of them.

A heap of (load, number), one live entry a server: the smallest load under which it is filed since it was last looked at.
A load that falls is filed anew; one that grows is corrected when the old entry reaches the top. So both cost O(log n), and
the answer is that of a walk over all servers in order of their numbers: the least load, the first of equals.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

_NUMBER_BITS: Final = 24
_NUMBER: Final = (1 << 24) - 1
_ABSENT: Final = -1


class LoadIndex:
    """Loads (whole numbers) of servers by their number."""

    __slots__ = ("_filed", "_heap", "_load", "_members")

    def __init__(self) -> None:
        self._load: list[int] = []
        """By number; -1 = not here."""
        self._filed: list[int] = []
        """The load of the live entry."""
        self._heap: list[int] = []
        self._members = 0

    def put(self, number: int, load: int) -> None:
        """Server ``number`` is here, with ``load``."""
        while number >= len(self._load):
            self._load.append(_ABSENT)
            self._filed.append(_ABSENT)
        was_here = self._load[number] != _ABSENT
        self._load[number] = load
        if was_here and load >= self._filed[number]:
            return
        self._members += not was_here
        self._filed[number] = load
        heappush(self._heap, (load << _NUMBER_BITS) + number)
        if len(self._heap) > 4 * self._members + 64:
            self._tidy()

    def remove(self, number: int) -> None:
        """Server ``number`` is no longer here."""
        if number < len(self._load) and self._load[number] != _ABSENT:
            self._load[number] = self._filed[number] = _ABSENT
            self._members -= 1

    def least(self) -> int:
        """Number of the least loaded, the first of equals; -1 when nobody is here."""
        heap = self._heap
        while heap:
            entry = heap[0]
            number = entry & _NUMBER
            if entry >> _NUMBER_BITS != self._filed[number]:
                heappop(heap)
                continue
            load = self._load[number]
            if load == self._filed[number]:
                return number
            self._filed[number] = load
            heapreplace(heap, (load << _NUMBER_BITS) + number)
        return _ABSENT

    def _tidy(self) -> None:
        """Drop dead entries."""
        self._filed = list(self._load)
        self._heap = [(load << _NUMBER_BITS) + number for number, load in enumerate(self._load) if load != _ABSENT]
        heapify(self._heap)


class CountedLoads(LoadIndex):
    """Loads that change by little (requests in flight): also what the largest is and their sum, without a walk."""

    __slots__ = ("_counts", "_most", "total")

    def __init__(self) -> None:
        super().__init__()
        self._counts: list[int] = [0]
        """How many servers have each load."""
        self._most = 0
        self.total = 0
        """The sum of all loads."""

    def put(self, number: int, load: int) -> None:
        """See ``LoadIndex``."""
        self._forget(number)
        while load >= len(self._counts):
            self._counts.append(0)
        self._counts[load] += 1
        self.total += load
        self._most = max(self._most, load)
        super().put(number, load)

    def remove(self, number: int) -> None:
        """See ``LoadIndex``."""
        self._forget(number)
        super().remove(number)

    def most(self) -> int:
        """The largest load; 0 when nobody is here."""
        while self._most and not self._counts[self._most]:
            self._most -= 1
        return self._most

    def _forget(self, number: int) -> None:
        if number < len(self._load) and self._load[number] != _ABSENT:
            self._counts[self._load[number]] -= 1
            self.total -= self._load[number]
