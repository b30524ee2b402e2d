"""``LockStep``: the ranks of a mixture make every forward together, on one clock.

    asleep -> a request for any rank starts a wave, on all ranks -> rounds -> a vote says that nobody has work -> asleep

In a round every rank takes its new requests and composes; one that has nothing to schedule runs a dummy forward of one
token. The round ends for all together, after the time that its fullest rank needs (``sim.perf.rank_step``). After the
first round of a wave, and whenever the counter of its rounds is a multiple of ``sync_interval``, the ranks vote: requests
that came during the round do not count. So up to ``sync_interval - 1`` dummy rounds follow the last request; all are paid.
Source: vLLM 0.33 ``v1/engine/core.py``, ``DPEngineCoreProc``.

Rounds in which nobody is admitted are skipped ahead like the steps of one engine, whatever the ranks carry: a run ends
where any rank's run would (first finish, blocks, its affine piece), before the first round in which another rank has the
largest attention, and, where all are dummies, with the next vote. An arrival at any rank cuts it for all.

Rounds of ranks that speculate are composed one by one (``sim.perf.rank_speculation``; not recorded: each rank's rules are
those of one engine, and the drafts of all are made together). A LoRA adapter on any rank makes the round longer for all;
loads that one rank waits for hold up the others.

Under asynchronous scheduling (not recorded) a round is composed when the one before its predecessor has returned, and the
vote counts composed rounds and requests whose last token is in flight.
"""

from __future__ import annotations

from math import inf

from sim.engine.batch import Batch
from sim.engine.cadence import RankCadence
from sim.engine.clock import COMPLETION, SCHEDULE, Clock
from sim.engine.listener import RoundListener
from sim.engine.noise import StepNoise
from sim.engine.replica import Replica
from sim.engine.round import Round
from sim.engine.wake_ups import Composing, Pace, WakeUp
from sim.engine.work import Work
from sim.perf.rank_speculation import NOTHING, Carried, RankTimes
from sim.perf.rank_step import AffineRankStepTime, RankLoad, RankStepTime


class LockStep(Pace):
    """The rounds of ``ranks``, whose pace this is.

    Args:
        clock: the simulation's clock.
        ranks: engines that do not wake themselves.
        times: how long a round takes, in the clock's unit.
        sync_interval: rounds from vote to vote.
        adapted: the same of rounds in which a running request has a LoRA adapter; None = nobody has.
        noise: draws the factor of a round, for each rank; the slowest counts.
        listener: told of every round.
    """

    def __init__(
        self,
        clock: Clock,
        ranks: list[Replica],
        times: RankTimes,
        sync_interval: int,
        adapted: RankTimes | None = None,
        noise: StepNoise | None = None,
        listener: RoundListener | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock
        self.ranks = ranks
        self.depth = ranks[0].depth
        self.work = Work(None)
        """Rounds and the time in which they ran."""
        self.dummy_steps = 0
        """Forwards of single ranks that had nothing to schedule."""
        self.dummy_time = 0.0
        self.wave = 0
        """Number of the wave that runs, or comes next."""
        self._counter = 0
        self._times = times
        self._adapted = adapted
        self._sync_interval = sync_interval
        self._noise = noise
        self._listener = listener
        self._rounds: list[Round] = []
        self._open: Round | None = None
        self._end = 0.0
        self._came: list[float] = []
        """When requests came since the newest round, or run of rounds, was composed."""
        self._composed_at = 0.0
        """When the newest round, the last of a run, was composed."""
        self._wake_at: float | None = None
        self._cadences = [cadence for rank in ranks if isinstance(cadence := rank.scheduler.cadence, RankCadence)]
        self._skips = all(rank.scheduler.skip_decode and not rank.scheduler.record_order for rank in ranks)

    # -- what ranks and their group say --------------------------------------------------------------------------------

    def arrives(self) -> None:
        """A request is about to be given to a rank."""
        self._came.append(self.clock.now)

    def news(self) -> None:
        """See ``Pace``: a sleeping group wakes, an open run is cut."""
        now = self.clock.now
        if not self._rounds:
            self._wake(now, SCHEDULE)
        elif self._shorten(now):
            self._plan_wake()

    def busy_by(self, now: float) -> float:
        """Time in which a round ran, up to ``now``."""
        return self.work.busy_by(now, self._rounds, self._open)

    def stop(self) -> None:
        """All ranks die now, in the middle of a round if one runs. They are stopped next."""
        now = self.clock.now
        self._shorten(now)
        if self._open is not None:
            self._close(self._open)
        self.work.stop_at(now, self._rounds)
        self.plan += 1
        self._rounds.clear()

    # -- the loop ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The planned wake-up: apply what has returned, then compose, behind everything else of this moment."""
        now = self.clock.now
        self._wake_at = None
        self._take_in(now)
        if self.clock.peek() <= now:
            self._wake(now, SCHEDULE)
        else:
            self.compose()

    def compose(self) -> None:
        """Compose as many rounds as may be under way, and plan the next wake-up."""
        now = self.clock.now
        self._wake_at = None
        while True:
            opened = self._open
            if opened is not None:
                if opened.time_after(opened.steps - 1) > now:
                    break
                self._close(opened)
            if len(self._rounds) >= self.depth or not self._goes_on():
                break
            self._begin_round(now)
        self._plan_wake()

    def _wake(self, at: float, order: int) -> None:
        if self._wake_at is None or self._wake_at > at or (order == COMPLETION and self._wake_at != at):
            self.plan += 1
            self._wake_at = at
            self.clock.put(at, order, Composing(self) if order == SCHEDULE else WakeUp(self))

    def _plan_wake(self) -> None:
        rounds = self._rounds
        if not rounds:
            return
        newest = rounds[-1]
        at = newest.end
        if self.depth == 2 and self._open is newest:
            at = max(newest.time_after(newest.steps - 1), self.clock.now)
        self._wake(min(at, rounds[0].end) if len(rounds) > 1 else at, COMPLETION)

    def _take_in(self, now: float) -> None:
        rounds = self._rounds
        released = False
        while rounds and rounds[0].end <= now and not (rounds[0] is self._open and self.depth == 2):
            over = rounds.pop(0)
            if over is self._open:
                self._close(over)
            for rank, batch in zip(self.ranks, over.batches, strict=True):
                if batch is not None:
                    rank.take_in(now, False)
                    released = released or (bool(batch.finishing) and rank.scheduler.books.n_waiting > 0)
        if released:
            self._shorten(now)

    def _shorten(self, now: float) -> bool:
        """Let the open run end with the last round that is composed by now; whether that changes it."""
        opened = self._open
        if opened is None:
            return False
        steps = max(1, opened.steps_started(now) + self.depth - 1)
        if steps >= opened.steps:
            return False
        opened.cut_to(steps)
        self._end = opened.end
        for rank, batch in zip(self.ranks, opened.batches, strict=True):
            if batch is not None:
                rank.cut_to(steps)
        return True

    def _close(self, opened: Round) -> None:
        """A run becomes final."""
        self._open = None
        for rank, batch in zip(self.ranks, opened.batches, strict=True):
            if batch is not None:
                rank.close_plan()
        self._account(opened)

    def _account(self, final: Round) -> None:
        self._counter += final.steps
        self._composed_at = final.time_after(final.steps - self.depth) if final.steps >= self.depth else final.sched_at
        self.work.add(final, 0)
        for batch in final.batches:
            if batch is None:
                self.dummy_steps += final.steps
                self.dummy_time += final.end - final.start

    # -- rounds --------------------------------------------------------------------------------------------------------

    def _goes_on(self) -> bool:
        """Whether there is another round: the vote after the newest, if one is due, and a new wave behind a finished one."""
        held = 0
        for rank in self.ranks:
            books = rank.scheduler.books
            held += len(books.running) + books.n_waiting
        counter = self._counter
        if counter == 1 or (counter and counter % self._sync_interval == 0):
            for came in self._came:
                held -= came > self._composed_at
            unfinished = held > 0
            if self._listener is not None:
                self._listener.voted(unfinished)
            if not unfinished:
                self.wave += 1
                self._counter = 0
        return self._counter > 0 or held > 0 or bool(self._came)

    def _begin_round(self, now: float) -> None:
        self._came.clear()
        for cadence in self._cadences:
            cadence.round = self._counter
        batches = [rank.next_batch() for rank in self.ranks]
        one = Round(batches, load_of(batches), self.wave, self._counter)
        one.sched_at = now
        self._set_times(one, max(self._end, now))
        for rank, batch in zip(self.ranks, batches, strict=True):
            if batch is not None:
                batch.steps = one.steps
                batch.set_times(one.start, one.first, one.increment)
                rank.launch(batch, now)
        self._rounds.append(one)
        self._end = one.end
        if one.steps == 1:
            self._account(one)
        else:
            self._open = one
        if self._listener is not None:
            self._listener.composed(one)

    def _set_times(self, one: Round, start: float) -> None:
        load, loading, times = one.load, 0.0, self._times_now()
        step_time, verification = times.step, times.verification
        if verification is not None:
            first, increment = verification.verifying_s([_carried(batch) for batch in one.batches]), 0.0
            one.steps = self._longest_run(one)
        elif load.prefill:
            longest = 0.0
            for batch in one.batches:
                if batch is not None:
                    chunks = [(n, before) for _, n, before in batch.prefills]
                    longest = max(longest, step_time.attention_s(chunks, batch.n_decode, batch.context))
            first, increment = step_time.round_s(longest, load), 0.0
        else:
            first, increment, one.steps = self._run(one, step_time)
        if self._noise is not None:
            first *= max([self._noise.factor() for _ in self.ranks])
        for batch in one.batches:
            if batch is not None:
                loading = max(loading, batch.load_time)
                first = max(first, batch.least_time)
        one.set_times(start, first + loading, increment)

    def _times_now(self) -> RankTimes:
        """Of the round just composed."""
        if self._adapted is not None:
            for rank in self.ranks:
                adapters = rank.scheduler.books.adapters
                if adapters is not None and adapters.running:
                    return self._adapted
        return self._times

    def _run(self, one: Round, step_time: RankStepTime | AffineRankStepTime) -> tuple[float, float, int]:
        """First duration of a round of rows alone, what each further one takes longer, and how many follow alike."""
        load = one.load
        steps = self._longest_run(one)
        rows = [_rows(batch) for batch in one.batches]
        if steps == 1:  # the largest attention decides
            n, context = max(rows, key=lambda row: step_time.attention_s((), row[0], row[1]))
            line = step_time.round_lines([(n, context)], load)[0]
            return line.intercept + line.slope * context, 0.0, 1
        slowest, growth = -inf, 0.0
        times: list[tuple[float, float]] = []
        for (n, context), line in zip(rows, step_time.round_lines(rows, load), strict=True):
            if n and context + n * (steps - 1) > line.last_context:
                steps = max(1, int((line.last_context - context) // n) + 1)
            now, each = line.intercept + line.slope * context, line.slope * n
            times.append((now, each))
            if now > slowest or (now == slowest and each > growth):
                slowest, growth = now, each
        for now, each in times:
            if each > growth:
                steps = min(steps, int((slowest - now) / (each - growth)) + 1)
        return slowest, growth, steps

    def _longest_run(self, one: Round) -> int:
        """Rounds like this one, as far as schedulers can tell, until something changes on some rank."""
        if not self._skips:
            return 1
        steps = 0
        for rank, batch in zip(self.ranks, one.batches, strict=True):
            if batch is not None:
                longest = 1 if batch.number else rank.scheduler.longest_run()
            else:
                books = rank.scheduler.books
                if books.n_waiting or books.prefilling or (books.drafts is not None and books.running):
                    return 1  # held back, or at the model's length if all in flight is accepted: it may go on next
                continue
            steps = longest if not steps else min(steps, longest)
        if steps:
            return steps
        return 1 if self._counter == 0 else self._sync_interval - self._counter % self._sync_interval


def _rows(batch: Batch | None) -> tuple[int, int]:
    """Rows of one token each that a rank without longer chunks has, and the tokens computed before them."""
    if batch is None:
        return 0, 0
    context = batch.context
    for _, _, before in batch.prefills:
        context += before
    return batch.n_decode + len(batch.prefills), context


def _carried(batch: Batch | None) -> Carried:
    """What a rank that speculates has in a round."""
    if batch is None or batch.speculation is None:
        return NOTHING
    return batch.speculation.prompts, batch.speculation.verified


def load_of(batches: list[Batch | None]) -> RankLoad:
    """What the ranks carry; a dummy forward is one token of nobody."""
    most = everybody = seqs = 0
    least = 1 << 60
    prefill = False
    for batch in batches:
        tokens = 1
        if batch is not None:
            tokens, speculation = batch.n_decode, batch.speculation
            requests = tokens + len(batch.prefills)
            if speculation is None:
                for _, n, _ in batch.prefills:
                    tokens += n
                    prefill = prefill or n > 1
            else:
                for n, _ in speculation.prompts:
                    tokens += n
                if speculation.verified is not None:
                    tokens += speculation.verified.rows
                requests += len(speculation.alike)
            seqs = max(seqs, requests)
        most, least, everybody = max(most, tokens), min(least, tokens), everybody + tokens
    return RankLoad(most, least, everybody, seqs, prefill)
