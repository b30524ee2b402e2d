"""``Gateway``: the life of a request between the client and the engines.

    arrive -> admit -> passes before -> cache -> queue -> route -> engine -> passes after -> answer
                 ^                                                     |
                 +---- retry after a wait <---- timeout, shed, evicted +----> escalate to a larger pool or an API

``handle`` is this life as one generator. A route that needs no policy takes the fast path instead: callbacks, no process.
Requests wake their process at most once a try; deadlines, hedges and the queue's time-outs are FIFOs with one timer each.
How long clients wait is ``Patience``, who answers elsewhere ``Providers``.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from functools import cache
from typing import Any

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.fleet.endpoints import EndpointListener, Endpoints
from sim.fleet.server import Server
from sim.gateway.changes import with_changes
from sim.gateway.contents import Contents
from sim.gateway.counts import Counts
from sim.gateway.deadlines import DeadlineQueue
from sim.gateway.disaggregation import make_dispatcher
from sim.gateway.hybrid import HybridRule
from sim.gateway.life import Life
from sim.gateway.listener import AttemptListener
from sim.gateway.passes import Passes
from sim.gateway.patience import Patience
from sim.gateway.plain import PlainPath
from sim.gateway.policies import Policies, needs_process
from sim.gateway.providers import Providers
from sim.gateway.queueing import GatewayQueue, PoolLines
from sim.gateway.request import OUTCOME, TIMEOUT, Answer, Attempt, ClientRequest, Failure, Stretch, still_trying
from sim.gateway.users import make_users
from sim.plugins import Plugins
from sim.record.recorder import COMPLETED, ESCALATED, Recorder
from sim.rng import stream
from sim.spec import Scenario
from sim.workload import Trace

_NAN = float("nan")


class Gateway(AttemptListener, EndpointListener):
    """Feeds ``trace`` to the servers at ``endpoints`` and writes every request's outcome."""

    def __init__(
        self, scenario: Scenario, trace: Trace, clock: Clock, recorder: Recorder, endpoints: Endpoints, plugins: Plugins
    ) -> None:
        spec = with_changes(scenario.gateway, scenario.timeline)
        self._queue_limit = spec.max_queue_requests
        self._hedging = spec.hedging
        seed = scenario.seed
        self.clock = clock
        self.recorder = recorder
        self.counts = Counts(recorder)
        columns = recorder.columns
        self.arrival_s = columns.copied("d", trace.arrival_s)
        """When each request was sent; the trace's times unless users wait for answers."""
        self._input = columns.copied("q", trace.input_tokens)
        self._output = columns.copied("q", trace.output_tokens)
        self._labels = {name: column.tolist() for name, column in trace.labels.items() if name != "block_hashes"}
        self._priority: list[int] | None = self._labels.get("priority")
        self._contents = Contents(trace)
        self._ttft_target_s = cache(scenario.slo.ttft_target_s)
        self._process = needs_process(spec)
        self._plain_routes = frozenset(spec.plain_routes)
        self._answers_end = not (spec.passes or spec.hybrid or spec.hedging)  # nobody is asked for more behind an answer
        self._routes: dict[str, str] = dict(spec.routes)
        """Route -> pool that serves it at home."""
        prefill = scenario.fleet.pools_of_role("prefill")
        self.policies = Policies(spec, clock, endpoints, recorder, self.counts, plugins, seed, prefill)
        transfer, splitting = scenario.fleet.kv_transfer, self.policies.splitting
        self.dispatcher, self.wires = make_dispatcher(spec, clock, recorder, self.counts, self, transfer, splitting)
        """Whom engines tell, and what KV caches travel over between servers, where any do."""
        self._patience = Patience(clock, spec)
        router = self.policies.router
        self._lines = PoolLines(clock, endpoints, spec.queue, self._patience)
        shared = (self._patience, self._lines, clock, endpoints, router, self.dispatcher, seed, len(trace))
        self._before = Passes(spec.passes_of("before"), *shared)
        self._after = Passes(spec.passes_of("after"), *shared)
        self._queue = GatewayQueue(clock, endpoints, spec.queue, self.policies, lambda request: self._send(request, None))
        self.providers = Providers(spec, self._output, clock, self._patience, recorder, self.counts, seed)
        self._plain = PlainPath(clock, spec, recorder, self.dispatcher, router)
        self._hedges: DeadlineQueue[tuple[ClientRequest, int]] = DeadlineQueue(clock, still_trying, self._hedge)
        self._users = make_users(spec.users, clock, trace, self._receive, stream(seed, "gateway", "users"))
        if self._users is not None:
            recorder.on_outcome = self._users.outcome
        endpoints.listen(self)

    def start(self) -> None:
        """Serve from the first arrival on."""
        if self._users is not None:
            self._users.start()
        elif self.arrival_s:
            self.clock.stream(self.arrival_s, ARRIVAL, Moment(self._arrive))

    def figures(self) -> dict[str, float]:
        """``Result.gateway``."""
        counts = self.counts
        return {
            "retries": counts.retries,
            "hedges": counts.hedges,
            "ejections": counts.ejections,
            "api_calls": sum(provider.calls for provider in self.providers.all),
            "pass_tokens": counts.pass_tokens,
            "unfinished_attempts": counts.out,
            **counts.of_handovers(),
        }

    # -- arrivals ------------------------------------------------------------------------------------------------------

    def _arrive(self, _: Moment) -> None:
        self._receive(self.counts.arrived)

    def take(self, row: int, input_tokens: int, output_tokens: int) -> None:
        """The request of ``row`` comes now, of these lengths, whatever the trace says: somebody outside has sent it."""
        self._input[row], self._output[row] = input_tokens, output_tokens
        self._receive(row)

    def _receive(self, row: int) -> None:
        self.counts.arrived += 1
        now = self.arrival_s[row] = self.clock.now
        request = ClientRequest(row, now, self._input[row], 0 if self._priority is None else self._priority[row])
        if self._labels or self._contents.shared:
            self._label(request)
        request.deadline_s = now + self._ttft_target_s(request.route, request.tenant)
        servers = self.policies.ready()
        if servers and (not self._process or request.route in self._plain_routes):
            self._plain.send(request, self._output[row], servers)
        else:
            self.counts.under_way += 1
            request.life = Life(self.clock, self.handle(request))
            request.life.happen()

    def _label(self, request: ClientRequest) -> None:
        labels, row = self._labels, request.row
        for name in ("route", "tenant", "session_id", "prompt_id", "lora", "accept"):
            if name in labels:
                setattr(request, name, labels[name][row])
        if request.lora and request.prompt_id:
            request.prompt_id = f"{request.lora}|{request.prompt_id}"  # another adapter answers otherwise
        request.content = self._contents.of(row, request.input_tokens, self._output[row])

    # -- the life of a request -----------------------------------------------------------------------------------------

    def handle(self, request: ClientRequest) -> Generator[None, Any, None]:
        """The life of a request, top to bottom: tries until there is an answer or a reason to stop."""
        while True:
            self._patience.try_begins(request)
            failure = self.policies.refusal(request, self.clock.now)
            if failure is None and self._before.used and not request.passed:
                failure = yield from self._before_serving(request)
            if failure is None:
                failure = yield from self._from_twin(request) if self.policies.may_share(request) else self._serve(request)
            self.policies.ended(request, failure)
            if failure is None:
                break
            failure = yield from self._back_off(request, failure)
            if failure is not None:
                self._lose(request, failure)
                break

    def _back_off(self, request: ClientRequest, failure: Failure) -> Stretch:
        """Wait for the next try after ``failure``; what is final, if there is none."""
        self._patience.try_ended(request)
        wait_s = None if request.expired else self.policies.retry_wait_s(request, failure, self.counts.under_way)
        if wait_s is None:
            return TIMEOUT if request.expired else failure
        late = yield from self._patience.pause(request, wait_s)
        self.policies.next_try()
        if late is not None:
            self.policies.ended(request, late)
            return late
        self.counts.retry(request)
        return None

    def _before_serving(self, request: ClientRequest) -> Stretch:
        failure = yield from self._before.run(request, request.input_tokens)
        request.passed = failure is None
        return failure

    def _from_twin(self, request: ClientRequest) -> Stretch:
        """Answer from the cache, from an equal request under way, or by being the one that others wait for."""
        cache, twins, now = self.policies.cache, self.policies.twins, self.clock.now
        tokens = cache.look_up(request.prompt_id, now) if cache is not None else None
        if cache is not None and tokens is not None:
            late = yield from self._patience.pause(request, cache.latency_s)
            if late is None:
                self._finish(request, Answer(self.clock.now, self.clock.now, tokens), "cache")
            return late
        if twins is None:
            return (yield from self._serve(request))
        if twins.lead_or_follow(request):
            if self._patience.waits(request):
                yield
            signal = request.news
            if isinstance(signal, Answer):
                first = max(request.arrival_s, signal.first_token_s)
                self._finish(request, Answer(first, self.clock.now, signal.output_tokens), "dedupe")
                return None
            twins.leave(request)
            return signal if signal is not None else (yield from self._serve(request))
        failure = yield from self._serve(request)
        row = request.row
        answer = Answer(self.recorder.first_token_s[row], self.clock.now, self.recorder.output_tokens[row])
        twins.settle(request.prompt_id, answer if failure is None else None)
        return failure

    def _serve(self, request: ClientRequest) -> Stretch:
        """Local, but for what a hybrid rule says."""
        rule = self.policies.hybrid
        if rule is None or rule.pinned(request):
            return self._serve_locally(request, self._routes.get(request.route))
        return self._serve_by(rule, request)

    def _serve_by(self, rule: HybridRule, request: ClientRequest) -> Stretch:
        """Local first; elsewhere when ``rule`` says so."""
        if rule.leaves_before(request, self.policies.least_waiting() if rule.spec.overload_waiting is not None else 0):
            return (yield from self._escalate(request))
        thrown_away = rule.leaves_after(request)
        failure = yield from self._serve_locally(request, self._routes.get(request.route), keep=not thrown_away)
        if (failure is None and thrown_away) or (failure is not None and rule.spec.after_failure and not request.expired):
            self.counts.retry(request)
            return (yield from self._escalate(request))
        return failure

    def _escalate(self, request: ClientRequest) -> Stretch:
        """The larger pool where there is one, else the first API that answers."""
        rule = self.policies.hybrid
        if rule is not None and rule.spec.larger_pool is not None:
            return (yield from self._serve_locally(request, rule.spec.larger_pool))
        reply = yield from self.providers.ask(request)
        if isinstance(reply, Failure):
            return reply
        name, answer = reply
        return (yield from self._after_serving(request, answer, name, ESCALATED, None))

    def _serve_locally(self, request: ClientRequest, pool: str | None, keep: bool = True) -> Stretch:
        """Queue, route, wait for an engine; ``keep=False`` throws the answer away (it stays paid)."""
        failure = None if pool is None else (yield from self._lines.reach(request, pool, request.input_tokens))
        if failure is None:
            queues = pool is None and self.policies.must_queue()
            failure = self._queue.enter(request) if queues else self._send(request, pool)
        if failure is not None:
            return failure
        if self._patience.waits(request):
            yield
        signal = request.news
        self._queue.remove(request)
        self._call_off(request, signal)
        if isinstance(signal, Failure):
            return signal
        attempt: Attempt = signal
        if not keep:
            self.dispatcher.waste(attempt)
            return None
        engine = attempt.engine
        assert engine.first_token_at is not None
        answer = Answer(engine.first_token_at + attempt.one_way_s, self.clock.now, engine.sampled)
        if self._after.used:
            return (yield from self._after_serving(request, answer, attempt.server.pool, COMPLETED, attempt))
        self._finish(request, answer, attempt.server.pool, COMPLETED, attempt)
        return None

    def _after_serving(
        self, request: ClientRequest, answer: Answer, pool: str, outcome: int, attempt: Attempt | None
    ) -> Stretch:
        if self._after.used:
            failure = yield from self._after.run(request, request.input_tokens + answer.output_tokens)
            if failure is not None:
                if attempt is not None:
                    self.dispatcher.waste(attempt)
                return failure
            answer = Answer(self.clock.now, self.clock.now, answer.output_tokens)
        self._finish(request, answer, pool, outcome, attempt)
        return None

    # -- steps of that life --------------------------------------------------------------------------------------------

    def _send(self, request: ClientRequest, pool: str | None, avoid: Collection[Server] = ()) -> Failure | None:
        """Route one attempt; a failure when nobody may take it."""
        server = self.policies.chosen(request, pool, avoid)
        if server is None:
            return self.policies.nobody(pool)
        scheduler = server.replica.scheduler
        limit = self._queue_limit
        if limit is not None and server.replica.n_waiting >= limit and server.requests_in_flight:
            return self.policies.refused(server)
        tokens = request.input_tokens
        if self._before.used:
            tokens += self._before.added_prompt_tokens(request)
        refusal = scheduler.refusal(tokens, self._output[request.row])
        if refusal is not None:
            return Failure("rejected", refusal)
        name = ("out", request.row)  # of a second attempt at the same prompt, too
        output, lora = self._output[request.row], request.lora
        attempt = self.dispatcher.send(request, server, tokens, output, request.content, name, lora)
        request.live.append(attempt)
        self.policies.attempt_sent(server)
        hedging = self._hedging
        if hedging is not None:
            attempt.engine.announces = True
            if request.hedges < hedging.max_hedges:
                self._hedges.add(self.clock.now + hedging.delay_s, (request, request.tries))
        return None

    def _call_off(self, request: ClientRequest, signal: Attempt | Failure) -> None:
        """Nobody waits for the attempts still out, now that ``signal`` came: they failed with it, or that one won."""
        for attempt in request.live:
            if attempt.live and attempt is not signal:
                self.dispatcher.abandon(attempt)
                if isinstance(signal, Failure):
                    self.policies.attempt_ended(attempt.server, signal)
                else:
                    self.policies.called_off(attempt.server)
        request.live = [signal] if isinstance(signal, Attempt) and signal.live else []

    def _finish(
        self, request: ClientRequest, answer: Answer, pool: str, outcome: int = COMPLETED, attempt: Attempt | None = None
    ) -> None:
        """The client has its answer."""
        row = request.row
        scheduled = attempt.scheduled_at() if attempt is not None else None
        self.recorder.answered(
            row, request.arrival_s, answer.first_token_s, answer.finish_s, _NAN if scheduled is None else scheduled,
            answer.output_tokens, 0 if attempt is None else min(attempt.cached_tokens(), request.input_tokens),
            0 if attempt is None else attempt.preemptions(), self.recorder.pools.index(pool),
            -1 if attempt is None else attempt.server.index, outcome,
        )  # fmt: skip
        self._close(request)
        self.policies.answered(request, pool, answer.output_tokens, self.clock.now)

    def _lose(self, request: ClientRequest, failure: Failure) -> None:
        """The client has no answer, and no further try."""
        self.recorder.lost(request.row, self.clock.now, OUTCOME[failure.kind], failure.reason)
        self._close(request)

    def _close(self, request: ClientRequest) -> None:
        """No timer concerns ``request`` any more."""
        request.open = False
        request.life = None  # a timer may know the request for long
        request.tries += 1
        self.counts.under_way -= 1

    # -- news from engines, timers and the fleet -----------------------------------------------------------------------

    def began(self, attempt: Attempt) -> None:
        """See ``AttemptListener``: hedges are won by the first token."""
        self._call_off(attempt.request, attempt)

    def answered(self, attempt: Attempt) -> None:
        """See ``AttemptListener``."""
        request = attempt.request
        if request.tries:
            self.policies.attempt_ended(attempt.server, None)
            if not request.wake(attempt, self._answers_end):  # another attempt's answer came at the same moment
                self.dispatcher.waste(attempt)
            return
        self._plain.answered(attempt)

    def lost(self, attempt: Attempt) -> None:
        """See ``AttemptListener``."""
        request = attempt.request
        if not request.tries:
            self._plain.lost(attempt)
            return
        evicted = Failure("evicted", attempt.reason, None, attempt.server.index)
        self.policies.attempt_ended(attempt.server, evicted)
        if not any(other.live for other in request.live):
            request.wake(evicted)

    def _hedge(self, item: tuple[ClientRequest, int]) -> None:
        request = item[0]
        hedging = self._hedging
        waiting = [attempt for attempt in request.live if attempt.live]
        if hedging is None or not waiting or any(a.begun(self.clock.now) for a in waiting):
            return
        request.hedges += 1
        if self._send(request, waiting[0].server.pool, [attempt.server for attempt in request.live]) is None:
            self.counts.hedge(request)
        else:
            request.hedges -= 1

    def room_made(self) -> None:
        """See ``AttemptListener``: the queue moves."""
        self._queue.move()

    def joined(self, server: Server) -> None:
        """See ``EndpointListener``: the queue moves."""
        self._queue.move()
        self._lines.move(server.pool)

    def closed(self) -> None:
        """See ``EndpointListener``: who waits for the pool fails."""
        self._queue.flush()
        self._lines.flush()
