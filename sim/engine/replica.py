"""``Replica``: the engine loop of one server on the clock.

The loop of vLLM's engine core: take what has arrived, compose, launch; when the batch queue is full, wait for the oldest
batch, apply its output, go on. The queue holds one batch (sync scheduling) or two (async scheduling: batch k is composed
when batch k-2 has returned, that is at the start of batch k-1, and execution is back to back). Idle, it waits.

Runs of decode-only steps are one batch with a plan. The plan stays open until the moment at which the step after it has to
be composed: its end (sync) or the start of its last step (async). An arrival or abort that the scheduler would see cuts
the plan after the step in progress, or the one after that which is already composed (async); where nothing but a load comes
of it, the plan goes on (``RunOn``).

What nobody outside can see costs no wake-up: a step that is composed while another runs is composed when that one ends,
and a batch with which nobody leaves is taken in with the next, both as of the moment at which the engine did it. Whoever
asks in between, sends or aborts makes it ``catch_up`` first. Readers (``view``) get the newest composed step, uncut.
"""

from __future__ import annotations

from math import inf, nextafter

from sim.engine.batch import Batch
from sim.engine.clock import COMPLETION, SCHEDULE, Clock
from sim.engine.gaps import GapHistogram
from sim.engine.listener import EngineListener, StepListener
from sim.engine.noise import StepNoise
from sim.engine.outputs import Outputs
from sim.engine.pacing import Pacing
from sim.engine.request import EngineRequest
from sim.engine.run_on import run_on_of
from sim.engine.scheduler import Scheduler
from sim.engine.view import EngineView, view_of
from sim.engine.wake_ups import Composing, Look, Loop, Pace, WakeUp
from sim.engine.work import Work
from sim.perf.step_time import StepTimeModel


class Replica(Loop):
    """One engine with its clock.

    Args:
        clock: the simulation's clock, in seconds (float) or nanoseconds (int).
        scheduler: the engine's scheduler.
        step_time: how long a step takes, in the clock's unit.
        async_scheduling: compose one batch ahead.
        listener: told of requests that leave the engine.
        steps: told of every batch.
        gaps: collects the gaps between tokens.
        name: what messages and records call it.
        noise: draws each step's factor; the scheduler must not skip then.

    An engine with a ``pace`` does not wake itself: whoever paces it asks for its ``next_batch``, times and ``launch``es it.
    """

    def __init__(
        self,
        clock: Clock,
        scheduler: Scheduler,
        step_time: StepTimeModel,
        async_scheduling: bool,
        listener: EngineListener,
        steps: StepListener | None = None,
        gaps: GapHistogram | None = None,
        name: str = "",
        noise: StepNoise | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock
        self.scheduler = scheduler
        self._pacing = Pacing(step_time, noise)
        self.depth = 2 if async_scheduling else 1
        self.listener = listener
        self._step_listener = steps
        self.name = name
        self._counts = scheduler.cadence is not None  # who waits, even while no seat is free
        self.pace: Pace | None = None
        """Who wakes this engine; None = itself."""
        self._queue: list[Batch] = []
        self._open: Batch | None = None
        """The newest batch of the queue while its plan may still be cut."""
        self._wake_at: float | None = None
        self._due = inf
        """When the engine composes behind the open plan, where that needs no wake-up of its own."""
        self._aborts: list[EngineRequest] = []
        self.work = Work(gaps)
        self._outputs = Outputs(scheduler, listener, steps, self.work)
        self._run_on = run_on_of(scheduler, self.work) if async_scheduling and steps is None else None
        self._end = 0.0
        """When the last launched batch ends."""
        self.stopped = False

    # -- from the gateway ----------------------------------------------------------------------------------------------

    def submit(self, request: EngineRequest, last: bool = False) -> None:
        """A request reaches the engine's input queue now, ``last`` of what its sender does at this moment; a dead engine
        evicts it at once."""
        if self.stopped:
            self.listener.evicted((request,))
            return
        self.catch_up()
        books, limits = self.scheduler.books, self.scheduler.limits
        blocked = books.waiting.size and not limits.by_priority and not limits.crowd_shortens
        blocked = blocked and not (books.adapters is not None and books.adapters.set_aside)
        self.scheduler.add(request)
        request.submitted = True
        self._outputs.waiting_tokens += request.prompt_len
        if not self._queue or (self.pace is not None and self._open is None):
            self._wake_now(last)
        elif self._open is not None and not blocked and (len(books.running) < limits.seats or self._counts):
            self._cut()

    def abort(self, request: EngineRequest) -> None:
        """The client is gone: the engine drops the request when it next looks at its input queue."""
        if self.stopped:
            return
        self.catch_up()
        self._aborts.append(request)
        if not self._queue:
            self._wake_now()
        else:
            self._cut()
            if self._due < inf:
                self._plan_wake()

    # -- from sources of KV --------------------------------------------------------------------------------------------

    def kv_loaded(self, request: EngineRequest, good_tokens: int | None = None) -> None:
        """The load of ``request`` is over now: all of its tokens are there, or only its first ``good_tokens``."""
        self._outputs.tell_loaded(self.clock.now, request, good_tokens)
        self.look_again()

    def kv_released(self, request: EngineRequest) -> None:
        """Nobody wants the blocks of finished ``request`` any more."""
        waits = bool(self.scheduler.books.n_waiting) or self._step_listener is not None
        self._outputs.tell_released(self.clock.now, request, not self._queue and not waits)
        if waits:
            self.look_again()

    def kv_news(self, news: object) -> None:
        """The source of KV is to hear ``news`` with a step's output."""
        self._outputs.tell_news(self.clock.now, news)
        self.look_again()

    def look_again(self) -> None:
        """A source would answer otherwise from now on."""
        if self.stopped:
            return
        self.catch_up(False)  # what ends at this very moment hears all that is told then
        if self._queue:
            self._cut()
        else:
            self._wake_now()

    def stop(self) -> list[EngineRequest]:
        """The replica dies now, and returns what it held; the step in progress counts with its tokens, its time so far."""
        now = self.clock.now
        self.catch_up()
        plan = self._open
        if plan is not None:
            plan.cut_to(max(plan.committed, min(plan.steps, plan.steps_started(now) + self.depth - 1)))
            self._close(plan)
        self.work.stop_at(now, self._queue)
        self.stopped = True
        self.plan += 1
        self._due = inf
        self._queue.clear()
        return self.scheduler.books.lose()

    def busy_by(self, now: float) -> float:
        """Time in which a step ran, up to ``now`` (not before the clock's)."""
        self.catch_up()
        return self.work.busy_by(now, self._queue, self._open)

    @property
    def output_time(self) -> float:
        """End of the step whose output was applied last."""
        return self._outputs.time

    @property
    def n_waiting(self) -> int:
        """Requests in the waiting queue now."""
        self.catch_up()
        return self.scheduler.books.n_waiting

    def view(self) -> EngineView:
        """What its metrics say now."""
        self.catch_up()
        if not self._queue:
            self._outputs.hear_pins(self.clock.now)
        plan = self._open
        composed = 0 if plan is None else min(plan.steps, plan.steps_started(self.clock.now) + self.depth - 1)
        return view_of(self.scheduler, self._queue, plan, composed, self._outputs.waiting_tokens)

    # -- the engine loop -----------------------------------------------------------------------------------------------

    def _wake_now(self, last: bool = False) -> None:
        now = self.clock.now
        if self.pace is not None:
            self.pace.news()
        elif last and self.clock.peek() > now:
            self.compose()
        elif self._wake_at is None or self._wake_at > now:
            self.plan += 1
            self._wake_at = now
            self.clock.put(now, SCHEDULE, Composing(self))

    def _plan_wake(self) -> None:
        """Next moment at which this engine has something to do."""
        if self.pace is not None:
            return
        self._due = inf
        queue = self._queue
        if not queue:
            self._wake_at = None
            self.plan += 1
            if self._outputs.blocked_until:
                self._wake_at = self._outputs.blocked_until
                self.clock.put(self._wake_at, SCHEDULE, Composing(self))
            return
        oldest, newest = queue[0], queue[-1]
        wake_at = newest.end
        if self.depth == 2 and self._open is newest:
            self._due = max(newest.time_after(newest.steps - 1), self.clock.now)
            if self._aborts or self._outputs.matter():
                wake_at = self._due  # who sent them is told when the engine looks; a load begins when it is composed
                if self._run_on is not None and not self._aborts and (self._wake_at or 0.0) > wake_at:
                    self.clock.put(wake_at, COMPLETION, Look(self))
                    return
        told = oldest.finishing or oldest.announces or self._open is None or self._outputs.matter()
        if told and oldest.end < wake_at:
            wake_at = oldest.end
        if wake_at != self._wake_at:
            self._wake_at = wake_at
            self.plan += 1
            self.clock.put(wake_at, COMPLETION, WakeUp(self))

    def _cut(self) -> None:
        """The scheduler has news: end the open plan as soon as the engine would look."""
        if self.pace is not None:
            self.pace.news()
        elif self._shorten() or self._outputs.matter():
            self._plan_wake()

    def _shorten(self) -> bool:
        """Let the open plan end with the last step that is composed by now; whether that changes it."""
        batch = self._open
        if batch is None or batch.steps == 1:
            return False
        steps = max(batch.committed, batch.steps_started(self.clock.now) + self.depth - 1)
        if steps >= batch.steps:
            return False
        self.cut_to(steps)
        return True

    def cut_to(self, steps: int) -> None:
        """The open plan ends after ``steps`` steps."""
        batch = self._open
        if batch is not None:
            batch.cut_to(steps)
            self._end = batch.end

    def wake(self) -> None:
        """The planned wake-up: take what has returned, then compose, behind everything else of this moment."""
        now = self.clock.now
        self._wake_at = None
        if self._due < now:
            self._do_what_was_due()
        self._due = inf
        released = self.take_in(now, False)
        if self._open is not None and ((released and self.scheduler.books.n_waiting) or self._outputs.unheard()):
            self._shorten()
        if self.clock.peek() <= now:
            self.plan += 1
            self._wake_at = now
            self.clock.put(now, SCHEDULE, Composing(self))
        else:
            self.compose()

    def look(self) -> None:
        """It is time to compose behind the open plan, which may go on as it was planned: its wake-up stands."""
        now = self.clock.now
        if self._due == now and (self._aborts or self.clock.peek() <= now):
            self.wake()
        elif self._due == now:
            self._due = inf
            self.take_in(now, False)
            self._fill(now)
            self._plan_wake()

    def catch_up(self, with_now: bool = True) -> None:
        """Do what the engine has done by now, or before, without a wake-up."""
        now = self.clock.now
        if self._due < now:
            self._do_what_was_due()
            if self._outputs.unheard():
                self._shorten()
            self._plan_wake()
        self.take_in(now if with_now else nextafter(now, 0.0), True)

    def _do_what_was_due(self) -> None:
        """Compose behind the open plan, as of the moment at which its last step began."""
        due, self._due = self._due, inf
        self.take_in(due, True)
        self._fill(due)

    def take_in(self, now: float, quietly: bool) -> bool:
        """Apply the outputs of batches that have ended; whether a request has left with one. ``quietly``: up to the first
        that somebody is told of, which has a wake-up of its own."""
        queue = self._queue
        released = False
        while queue and queue[0].end <= now and not (queue[0] is self._open and self.depth == 2):
            batch = queue[0]
            if quietly and (batch is self._open or batch.finishing or batch.announces):
                break
            del queue[0]
            if batch is self._open:
                self._close(batch)
            self._outputs.apply(batch)
            if batch.finishing:
                released = True
        return released

    def compose(self) -> None:
        """Fill the batch queue and plan the next wake-up."""
        self._wake_at = None
        self._fill(self.clock.now)
        self._plan_wake()

    def _fill(self, now: float) -> None:
        """Compose as many batches as the queue takes at ``now``."""
        scheduler = self.scheduler
        queue, run_on, beside = self._queue, self._run_on, False
        while True:
            opened = self._open
            if opened is not None:
                if opened.time_after(opened.steps - 1) > now:
                    break  # the plan goes on
                beside = run_on is not None and len(queue) == 1 and not self._aborts and run_on.tries(opened)
                if not beside:
                    self._close(opened)
                    self._outputs.hear(now)
            if len(queue) >= self.depth or (self._outputs.blocked_until and self._outputs.blocked(now)):
                break
            if not queue:
                self._outputs.hear_pins(now)
            if self._aborts:
                self._outputs.drop(self._aborts)
            batch = scheduler.compose()
            if beside and opened is not None and run_on is not None:
                if run_on.takes(opened, batch):
                    self._end = opened.end
                    break
                self._open, beside = None, False
            if batch is None:
                if self._outputs.looks_again(now, not queue):
                    continue
                break
            self.launch(batch, now)

    def next_batch(self) -> Batch | None:
        """What a paced engine schedules now; None = nothing, also where it has preempted somebody in vain."""
        if self._aborts:
            self._outputs.drop(self._aborts)
        batch, external = self.scheduler.compose(), self.scheduler.books.external
        if batch is None and external is not None and self._outputs.looks_again(self.clock.now, not self._queue):
            batch = self.scheduler.compose()
        return batch

    def close_plan(self) -> None:
        """The open plan of a paced engine becomes final."""
        if self._open is not None:
            self._close(self._open)

    def launch(self, batch: Batch, now: float) -> None:
        """``batch``, composed now, goes to the GPU; a paced engine's has its times."""
        scheduler = self.scheduler
        batch.sched_at = now
        batch.used_blocks = scheduler.pool.usable - scheduler.pool.free
        if self.pace is None:
            self._pacing.place(batch, self._end if self._end > now else now, scheduler)
        if batch.prefills:
            self._outputs.awaits(batch)
        self._queue.append(batch)
        self._end = batch.end
        if batch.number:
            self._account(batch)
        elif batch.steps == 1:
            self._close(batch)
        else:
            self._open = batch

    def _close(self, batch: Batch) -> None:
        """An open plan becomes final."""
        self.scheduler.close(batch)
        self._open = None
        self._account(batch)

    def _account(self, batch: Batch) -> None:
        self.work.add(batch, self.scheduler.pool.usable - self.scheduler.pool.free)
        if self._step_listener is not None:
            self._step_listener.closed(self.name, self.work.steps - 1, self.scheduler, batch)
