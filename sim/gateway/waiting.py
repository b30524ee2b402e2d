"""The gateway's queue: priority bands, and within one a fair share of prompt tokens for every tenant.

Start-time fair queueing (Goyal, Vin, Cheng 1996): a request's start tag is max(virtual time, its tenant's last finish
tag), its finish tag is start + prompt tokens / weight; the smallest start tag goes first and becomes the virtual time. The
answer's length is not known, so it is not in the tags. Plain code without a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from sim.gateway.request import ClientRequest


class WaitingRoom:
    """Requests in the order in which they are to leave."""

    def __init__(self, fair: bool, weights: Mapping[str, float]) -> None:
        self._fair = fair
        self._weights = dict(weights)
        self._heap: list[tuple[int, float, int, ClientRequest]] = []
        self._here: dict[ClientRequest, int] = {}
        """Who waits, and the number of the entry that counts: one that left and came again waits anew."""
        self._entries = 0
        self._virtual = 0.0
        self._finish: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._here)

    def __contains__(self, request: ClientRequest) -> bool:
        return request in self._here

    def push(self, request: ClientRequest) -> None:
        """``request`` waits from now on."""
        tag = 0.0
        if self._fair:
            tag = max(self._virtual, self._finish.get(request.tenant, 0.0))
            self._finish[request.tenant] = tag + request.input_tokens / self._weights.get(request.tenant, 1.0)
        self._entries += 1
        heappush(self._heap, (request.priority, tag, self._entries, request))
        self._here[request] = self._entries

    def remove(self, request: ClientRequest) -> None:
        """``request`` waits no longer (it stays in the heap as a void entry)."""
        self._here.pop(request, None)

    def pop(self) -> ClientRequest | None:
        """The next to leave, or None."""
        while self._heap:
            _, tag, entry, request = heappop(self._heap)
            if self._here.get(request) == entry:
                del self._here[request]
                self._virtual = max(self._virtual, tag)
                return request
        return None
