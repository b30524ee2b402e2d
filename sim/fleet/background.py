"""Batch work that fills idle capacity: tasks enter replicas with few interactive requests, and leave when there are more.

Tasks are engine requests like others, with the lowest priority and no gateway; they are no rows of the records. What
they did is in the replicas' ``background_tokens`` and in an event at the end. A task that has to leave starts over.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.clock import DEADLINE, Moment
from sim.engine.listener import EngineListener
from sim.engine.request import EngineRequest
from sim.fleet.relay import Relay
from sim.fleet.roster import LifeListener, Roster
from sim.fleet.server import Server
from sim.spec.fleet import BackgroundSpec

_LOWEST_PRIORITY = 1_000_000


class Task:
    """Owner of a task's attempt, and where it runs."""

    __slots__ = ("server",)

    def __init__(self, server: Server) -> None:
        self.server = server


class Background(Relay, LifeListener):
    """The queue of tasks and where they run. Engines tell it; what is not a task's goes on to ``others``."""

    def __init__(self, roster: Roster, spec: BackgroundSpec, others: EngineListener) -> None:
        super().__init__(others)
        self._roster = roster
        self._ready = roster.endpoints.ready
        self._clock = roster.clock
        self._spec = spec
        self._left = spec.tasks
        self._number = 0
        self._running: dict[EngineRequest, None] = {}
        self.finished_tasks = 0

    def start(self) -> None:
        """Look for idle capacity from the release on."""
        self._clock.at(self._spec.release_s, DEADLINE, self._look)

    def _look(self, _: Moment) -> None:
        now, spec = self._clock.now, self._spec
        if spec.deadline_s is not None and now >= spec.deadline_s:
            for server in self._ready:
                self.leaving(server)
            if self.finished_tasks < spec.tasks:
                missed = spec.tasks - self.finished_tasks
                self._roster.event("background_deadline", "not finished in time", tasks=missed)
            return
        for server in [server for server in self._ready if server.state == "ready"]:
            if server.requests_in_flight > spec.max_interactive:
                if spec.yield_by == "abort" and server.background:
                    self.leaving(server)
                continue
            for _task in range(min(self._left, spec.max_running - server.background)):
                self._enter(server)
        if self.finished_tasks < spec.tasks:
            self._clock.at(now + spec.check_s, DEADLINE, self._look)

    def _enter(self, server: Server) -> None:
        spec = self._spec
        refusal = server.replica.scheduler.refusal(spec.input_tokens, spec.output_tokens)
        if refusal is not None:
            return
        self._left -= 1
        self._number += 1
        task = EngineRequest(
            -self._number, spec.input_tokens, spec.output_tokens, self._clock.now, _LOWEST_PRIORITY, owner=Task(server)
        )
        self._running[task] = None
        server.background += 1
        server.replica.submit(task)

    def leaving(self, server: Server) -> None:
        """All tasks in ``server`` go back to the queue."""
        for task in [task for task in self._running if task.owner.server is server]:
            self._back(task)
            server.replica.abort(task)

    def _back(self, task: EngineRequest) -> None:
        del self._running[task]
        task.owner.server.background -= 1
        self._left += 1

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        if not isinstance(request.owner, Task):
            super().finished(request)
            return
        if request not in self._running:  # was told to leave while its last token was on its way
            self._wasted(request)
            return
        del self._running[request]
        server: Server = request.owner.server
        server.background -= 1
        server.background_tokens += request.sampled
        self.finished_tasks += 1
        if self.finished_tasks == self._spec.tasks:
            self._roster.event("background_done", "all tasks finished", tasks=self.finished_tasks)

    def aborted(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        if not isinstance(request.owner, Task):
            super().aborted(request)
        else:
            self._wasted(request)

    def evicted(self, requests: Sequence[EngineRequest]) -> None:
        """Tasks of a dead server start over elsewhere."""
        for request in requests:
            if isinstance(request.owner, Task):
                self._wasted(request)
                if request in self._running:
                    self._back(request)
        others = [request for request in requests if not isinstance(request.owner, Task)]
        if others:
            super().evicted(others)

    def _wasted(self, request: EngineRequest) -> None:
        request.owner.server.wasted_tokens += request.sampled
