"""``QueueOrder``: other orders of the waiting queue than arrival, for an engine that knows its objective.

    earliest_deadline   the client's send + its TTFT target (of its route or tenant, else the fleet's); retries keep theirs
    shortest_prompt     prompt tokens: the least mean wait for prefills of known length

The smallest key is served first, equals by arrival; for want of blocks the largest is preempted, as under vLLM's priority
policy, of which both are a change of the key alone. Neither is fair: a long prompt waits as long as short ones come, and
under overload the earliest deadlines are those that are missed already, so that all may miss theirs.

Sources: Liu and Layland 1973 (earliest deadline first is optimal on one processor that can meet all deadlines); Schrage 1968
(the shortest remaining first minimises the mean number waiting); vLLM takes either as a request's ``priority``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sim.engine.batch import Batch
from sim.engine.request import EngineRequest


class QueueOrder:
    """One of the orders in the module's head."""

    def __init__(self, policy: Literal["earliest_deadline", "shortest_prompt"]) -> None:
        self._by_deadline = policy == "earliest_deadline"

    def key(self, request: EngineRequest) -> tuple[float, float, Any]:
        """What ``request`` is ordered by."""
        first = request.deadline if self._by_deadline else float(request.prompt_len)
        return (first, request.arrival, request.request_id)


def in_order(
    running: Iterable[EngineRequest], tick: int, batch: Batch, held_back: list[EngineRequest]
) -> list[tuple[EngineRequest, int, int]]:
    """``(request, tokens, computed before)`` of phase A in the scheduler's order; ``held_back`` decode, unserved."""
    chunks = {request: (n, before) for request, n, before in batch.prefills}
    order = []
    for request in running:
        if request.decoding:
            if request not in held_back:
                order.append((request, 1, request.offset + tick))
        elif request in chunks:
            n, before = chunks[request]
            order.append((request, n, before))
    return order
