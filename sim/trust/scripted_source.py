"""``ScriptedSource``: the external KV that a recorded case states, request by request."""

from __future__ import annotations

from typing import Any

from sim.engine.clock import REPORT, Clock, Moment
from sim.engine.kv_source import NOTHING, KvSource, Offer
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest


class ScriptedSource(KvSource):
    """Answers, load times and pins out of ``case.json`` (``external``, ``pin_ns``); ``rows`` is every request's."""

    def __init__(self, clock: Clock, rows: dict[str, dict[str, Any]]) -> None:
        self._clock = clock
        self._rows = rows
        self._replica: Replica | None = None
        self._used: set[str] = set()
        self.done_ns: dict[str, float | None] = {}
        """When the latest load of a request ends; None = within its step."""
        self.pinned: list[str] = []

    def attach(self, replica: Replica) -> None:
        """Whom it tells."""
        self._replica = replica
        for row in self._rows.values():
            known = (row.get("external") or {}).get("unknown_until_ns")
            if known is not None:
                self._clock.at(known, REPORT, self._known)

    def _known(self, moment: Moment) -> None:
        assert self._replica is not None
        self._replica.look_again()

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """See ``KvSource``."""
        external = self._rows[request.request_id].get("external")
        if not external:
            return NOTHING
        if external.get("once", True) and request.request_id in self._used:
            return NOTHING
        if self._clock.now < external.get("unknown_until_ns", 0):
            return None
        tokens = external["tokens"] - local_tokens
        return Offer(tokens, external["mode"] == "async") if tokens > 0 else NOTHING

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """See ``KvSource``."""
        external = self._rows[request.request_id]["external"]
        good = external.get("valid_tokens") if request.request_id not in self._used else None
        self._used.add(request.request_id)
        if external["mode"] == "async":
            done = self._clock.now + external["load_ns"]
            self.done_ns[request.request_id] = done
            self._clock.at(done, REPORT, self._loaded, (request, good))
            return 0.0
        self.done_ns[request.request_id] = None
        self._clock.at(self._clock.now, REPORT, self._loaded, (request, good))
        return float(external["load_ns"])

    def _loaded(self, moment: Moment) -> None:
        assert self._replica is not None
        request, good = moment.value
        self._replica.kv_loaded(request, good)

    def keeps(self, request: EngineRequest) -> bool:
        """See ``KvSource``."""
        pin_ns = self._rows[request.request_id].get("pin_ns")
        if pin_ns is None:
            return False
        self.pinned.append(request.request_id)
        assert self._replica is not None
        self._clock.at(self._replica.output_time + pin_ns, REPORT, self._released, request)
        return True

    def _released(self, moment: Moment) -> None:
        assert self._replica is not None
        self._replica.kv_released(moment.value)
