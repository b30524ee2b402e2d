"""External KV as a recorded case states it: ``ScriptedSource``, request by request, or a CPU tier, ``RecordedOffload``."""

from __future__ import annotations

from typing import Any

from sim.engine.clock import REPORT, Clock, Moment
from sim.engine.kv_source import NOTHING, KvSource, Offer
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.tiers.host_link import Copying, Manner
from sim.tiers.kept import Job
from sim.tiers.offloading import Offloading
from sim.tiers.tier import Tier


class ScriptedSource(KvSource):
    """Answers, load times and pins out of ``case.json`` (``external``, ``pin_ns``); ``rows`` is every request's."""

    def __init__(self, clock: Clock, rows: dict[str, dict[str, Any]]) -> None:
        self._clock = clock
        self._rows = rows
        self._replica: Replica | None = None
        self._used: set[str] = set()
        self.start = 0.0
        """Nothing is flushed: no step waits."""
        self._done_ns: dict[str, float | None] = {}
        self._pinned: list[str] = []

    def attach(self, replica: Replica) -> None:
        """Whom it tells."""
        self._replica = replica
        for row in self._rows.values():
            known = (row.get("external") or {}).get("unknown_until_ns")
            if known is not None:
                self._clock.at(known, REPORT, self._known)

    def done_at(self, request: EngineRequest) -> float | None:
        """When the latest load of ``request`` ends; None = within its step."""
        return self._done_ns[request.request_id]

    def of_the_call(self) -> dict[str, Any]:
        """Fields of a row that tell what the latest call did."""
        return {}

    def of_the_output(self) -> dict[str, Any]:
        """Likewise of what came out since the row before."""
        pinned, self._pinned = self._pinned, []
        return {"pinned": pinned}

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
            self._done_ns[request.request_id] = done
            self._clock.at(done, REPORT, self._loaded, (request, good))
            return 0.0
        self._done_ns[request.request_id] = None
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
        self._pinned.append(request.request_id)
        assert self._replica is not None
        self._clock.at(self._replica.output_time + pin_ns, REPORT, self._released, request)
        return True

    def _released(self, moment: Moment) -> None:
        assert self._replica is not None
        self._replica.kv_released(moment.value)


class RecordedOffload(Offloading):
    """``kv_offload`` of a case, with what its rows tell."""

    def __init__(self, clock: Clock, options: dict[str, Any]) -> None:
        arc = options.get("eviction_policy", "lru") == "arc"
        tier = Tier(options.get("cpu_chunks", 1000), arc, options.get("store_threshold", 0))
        copying = Copying(
            float(options.get("transfer_base_ns", 200_000)),
            float(options.get("store_ns_per_block", 100_000)),
            float(options.get("load_ns_per_block", 100_000)),
        )
        super().__init__(clock, tier, copying, Manner(prompt_only=options.get("offload_prompt_only", False)))
        self._done: list[int] = []
        self._evicted = self._refused = 0

    def begins(self) -> None:
        """See ``KvSource``."""
        super().begins()
        self._evicted, self._refused = self.tier.evicted, self.tier.refused

    def heard(self, news: object) -> None:
        """See ``KvSource``."""
        super().heard(news)
        assert isinstance(news, Job)
        self._done.append(news.number)

    def done_at(self, request: EngineRequest) -> float | None:
        """When the latest load of ``request`` ends."""
        return next(job.end for job in self.begun if job.request is request)

    def of_the_call(self) -> dict[str, Any]:
        """See ``ScriptedSource``."""
        evicted, refused = self.tier.evicted - self._evicted, self.tier.refused - self._refused
        return {
            "stores": [[job.number, job.request.request_id, job.blocks] for job in self.stored],
            "flushed": [job.number for job in self.flushed],
            "ask_later": [request.request_id for request in self.asked_later],
            "cpu_evicted": evicted,
            "store_dropped": refused,
        }

    def of_the_output(self) -> dict[str, Any]:
        """See ``ScriptedSource``."""
        done, self._done = self._done, []
        return {"jobs_done": done, "cpu_used": self.tier.used}
