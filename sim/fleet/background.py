"""Batch work that fills idle capacity: tasks enter replicas with few interactive requests, and leave when there are more.

Tasks are engine requests like others, with the lowest priority and no gateway; they are no rows of the records. What
they did is in the replicas' ``background_tokens`` and in an event at the end. A task that has to leave starts over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.engine.clock import DEADLINE, Moment
from sim.engine.request import EngineRequest
from sim.fleet.server import Server
from sim.spec.fleet import BackgroundSpec

if TYPE_CHECKING:
    from sim.fleet.fleet import Fleet

_LOWEST_PRIORITY = 1_000_000


class Task:
    """Owner of a task's attempt, and where it runs."""

    __slots__ = ("server",)

    def __init__(self, server: Server) -> None:
        self.server = server


class Background:
    """The queue of tasks and where they run."""

    def __init__(
        self,
        fleet: Fleet,
        spec: BackgroundSpec,
        on_finish: Callable[[EngineRequest], None],
        on_abort: Callable[[EngineRequest], None],
    ) -> None:
        self._fleet = fleet
        self._clock = fleet.clock
        self._spec = spec
        self._on_finish = on_finish
        self._on_abort = on_abort
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
            for server in self._fleet.ready:
                self.leave(server)
            if self.finished_tasks < spec.tasks:
                missed = spec.tasks - self.finished_tasks
                self._fleet.event("background_deadline", "not finished in time", tasks=missed)
            return
        for server in self._fleet.ready:
            if server.requests_in_flight > spec.max_interactive:
                if spec.yield_by == "abort" and server.background:
                    self.leave(server)
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

    def leave(self, server: Server) -> None:
        """All tasks in ``server`` go back to the queue."""
        for task in [task for task in self._running if task.owner.server is server]:
            self._back(task)
            server.replica.abort(task)

    def _back(self, task: EngineRequest) -> None:
        del self._running[task]
        task.owner.server.background -= 1
        self._left += 1

    def finished(self, attempt: EngineRequest) -> None:
        """An engine's ``on_finish``: a task is done, or the gateway is told."""
        if not isinstance(attempt.owner, Task):
            self._on_finish(attempt)
            return
        if attempt not in self._running:  # was told to leave while its last token was on its way
            self._wasted(attempt)
            return
        del self._running[attempt]
        server: Server = attempt.owner.server
        server.background -= 1
        server.background_tokens += attempt.sampled
        self.finished_tasks += 1
        if self.finished_tasks == self._spec.tasks:
            self._fleet.event("background_done", "all tasks finished", tasks=self.finished_tasks)

    def aborted(self, attempt: EngineRequest) -> None:
        """An engine's ``on_abort``."""
        if not isinstance(attempt.owner, Task):
            self._on_abort(attempt)
        else:
            self._wasted(attempt)

    def take_back(self, server: Server, attempts: list[EngineRequest]) -> list[EngineRequest]:
        """Tasks of a dead server start over elsewhere; the attempts that are not tasks are returned."""
        for attempt in attempts:
            if isinstance(attempt.owner, Task):
                server.wasted_tokens += attempt.sampled
                if attempt in self._running:
                    self._back(attempt)
        return [attempt for attempt in attempts if not isinstance(attempt.owner, Task)]

    def _wasted(self, attempt: EngineRequest) -> None:
        attempt.owner.server.wasted_tokens += attempt.sampled
