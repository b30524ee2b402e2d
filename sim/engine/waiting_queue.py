"""``WaitingQueue``: who waits for a seat, in the order of arrival or of a key."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any

from sim.engine.request import EngineRequest


class WaitingQueue:
    """First come first served, those put back in front; or ``ordered``: the smallest ``EngineRequest.key`` first."""

    __slots__ = ("_entries", "_fifo", "_heap", "_ordered", "first", "size")

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._fifo: deque[EngineRequest] = deque()
        self._heap: list[tuple[tuple[float, float, Any], int, EngineRequest]] = []
        self._entries = 0
        self.first: EngineRequest | None = None
        """Who is next."""
        self.size = 0
        """Requests that wait, preempted ones included."""

    def in_order(self) -> list[EngineRequest]:
        """Everybody, who is next first."""
        return [entry[2] for entry in sorted(self._heap)] if self._ordered else list(self._fifo)

    def append(self, request: EngineRequest) -> None:
        """A new request, behind all others."""
        self.size += 1
        if self._ordered:
            self._push(request)
        else:
            self._fifo.append(request)
            self.first = self._fifo[0]

    def put_back(self, request: EngineRequest) -> None:
        """A request that has been further already, before all others."""
        self.size += 1
        if self._ordered:
            self._push(request)
        else:
            self._fifo.appendleft(request)
            self.first = request

    def _push(self, request: EngineRequest) -> None:
        self._entries += 1
        heappush(self._heap, (request.key, self._entries, request))
        self.first = self._heap[0][2]

    def pop(self) -> EngineRequest:
        """Take the first out."""
        self.size -= 1
        if self._ordered:
            request = heappop(self._heap)[2]
            self.first = self._heap[0][2] if self._heap else None
        else:
            request = self._fifo.popleft()
            self.first = self._fifo[0] if self._fifo else None
        return request

    def remove(self, request: EngineRequest) -> None:
        """Take ``request`` out, wherever it stands."""
        if self._ordered:
            self._heap = sorted(entry for entry in self._heap if entry[2] is not request)
            self.first = self._heap[0][2] if self._heap else None
            self.size = len(self._heap)
        else:
            self._fifo.remove(request)
            self.first = self._fifo[0] if self._fifo else None
            self.size = len(self._fifo)

    def any_stale(self, returned: int) -> bool:
        """Whether somebody must not be admitted before a step behind number ``returned`` has returned."""
        waiting = (entry[2] for entry in self._heap) if self._ordered else iter(self._fifo)
        for request in waiting:
            if request.stale_until > returned:
                return True
            if not self._ordered and not request.preemptions:
                return False  # preempted requests stand together at the front
        return False
