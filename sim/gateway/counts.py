"""``Counts``: what a gateway counts while it works; the records and the fleet's observers read it."""

from __future__ import annotations

from sim.gateway.request import ClientRequest
from sim.record.recorder import Recorder


class Counts:
    """All from the start of the run, but ``under_way`` and ``out``, which are of now."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.arrived = 0
        """Requests of clients."""
        self.under_way = 0
        """Requests in a process of their own, without an outcome."""
        self.out = 0
        """Attempts sent to engines and not back."""
        self.retries = 0
        self.hedges = 0
        self.ejections = 0
        self.split = 0
        """Attempts whose prompt another server computes."""
        self.kept_whole = 0
        """Attempts at a decode replica that the decider left there."""
        self.without_prefill = 0
        """Likewise because no prefill replica was there, or none takes such a prompt."""
        self.handed_over = 0
        """Prompts whose KV cache arrived."""
        self.not_handed_over = 0
        """Prompts whose KV cache could not be read."""
        self.leases_ended = 0
        """Pinned prompts that nobody read in time."""
        self.pass_tokens = 0
        """Tokens that engines sampled for safety and rewriting passes."""

    def of_handovers(self) -> dict[str, float]:
        """What became of prompts at decode replicas; for ``Result.gateway``."""
        names = ("handed_over", "not_handed_over", "kept_whole", "without_prefill", "leases_ended")
        return {name: getattr(self, name) for name in names}

    def retry(self, request: ClientRequest) -> None:
        """``request`` is tried once more."""
        self._attempt(request)
        self.retries += 1

    def hedge(self, request: ClientRequest) -> None:
        """``request`` is tried once more before the last try has failed."""
        self._attempt(request)
        self.hedges += 1

    def _attempt(self, request: ClientRequest) -> None:
        """In the records at once: a request that a run gives up on has its attempts there."""
        request.attempts += 1
        self._recorder.attempts[request.row] = request.attempts

    @property
    def active(self) -> bool:
        """Whether anything is under way that needs fresh signals."""
        return self.out > 0 or self.under_way > 0
