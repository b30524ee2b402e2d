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

from typing import Any, Literal

from sim.engine.request import EngineRequest


class QueueOrder:
    """One of the orders in the module's head."""

    def __init__(self, policy: Literal["earliest_deadline", "shortest_prompt"]) -> None:
        self._by_deadline = policy == "earliest_deadline"

    def key(self, request: EngineRequest) -> tuple[float, float, Any]:
        """What ``request`` is ordered by."""
        first = request.deadline if self._by_deadline else float(request.prompt_len)
        return (first, request.arrival, request.request_id)
