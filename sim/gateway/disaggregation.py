"""``SplitDispatcher``: attempts whose prompt one server computes and whose answer another one generates.

    pull            P queue, P prefill -> hop -> D queue, D reserves -> blocks travel -> D step: first token
    push            P queue, P prefill (layers travel as they are computed) --+
                    D queue, D reserves --------------------------------------+-> D step: first token
    reserve_first   D queue, D reserves -> hop -> P queue, P prefill (each chunk travels while the next is computed)
                    -> last chunk travels: first token, P's own -> D step: second token

The prompt's blocks stay pinned at P under a lease, which D renews every ``heartbeat_s`` as long as it has the request;
they are free when D has read them, when D gave the request up and said so, or when the lease is over. What P does not have
any more D cannot read: its load fails, and ``load_failure_policy`` decides (the request fails, or D computes the prompt).

    P dies before its prefill is done   pull: the attempt fails; else D's load does
    P dies later                        D's load fails
    D dies                              the attempt fails; P's blocks are free at the end of the lease
    the client goes                     P stops, or D tells it to free the blocks; in between the lease ends

Sources: vLLM 0.33 docs/features/nixl_connector_usage.md, kv_connector/v1/nixl, examples' toy_proxy_server.py;
SGLang python/sglang/srt/disaggregation/{prefill,decode}.py. Left out: ejection of prefill replicas, hedging of prefills,
the reverse transfer from D to P, answers of one token under reserve_first keep D's token.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.request import Content, EngineRequest
from sim.fleet.server import Server
from sim.gateway.counts import Counts
from sim.gateway.dispatch import Dispatcher, engine_request
from sim.gateway.kv_wires import KvWires
from sim.gateway.listener import AttemptListener
from sim.gateway.request import Attempt, ClientRequest, Handoff
from sim.gateway.splitting import Splitting
from sim.record.recorder import Recorder
from sim.spec import GatewaySpec
from sim.spec.kv_transfer import KvTransferSpec


class SplitDispatcher(Dispatcher):
    """A dispatcher that splits what ``splitting`` says; see ``Dispatcher`` for the rest."""

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        counts: Counts,
        listener: AttemptListener,
        abort_on_disconnect: bool,
        one_way_s: dict[str, float],
        splitting: Splitting,
        wires: KvWires,
    ) -> None:
        super().__init__(clock, recorder, counts, listener, abort_on_disconnect, one_way_s)
        self._splitting = splitting
        self._protocol = splitting.spec.protocol
        self._hop_s = splitting.spec.hop_s
        self._wires = wires

    def send(
        self,
        request: ClientRequest,
        server: Server,
        input_tokens: int,
        output_tokens: int,
        content: Content | None,
        output_name: Hashable | None,
        lora: str = "",
    ) -> Attempt:
        """See ``Dispatcher``; what a pass reads (not the request's own ``content``) is never split."""
        whole = content is not request.content
        source = None if whole else self._splitting.source(request, server, input_tokens)
        if source is None:
            return super().send(request, server, input_tokens, output_tokens, content, output_name, lora)
        now, counts = self._clock.now, self._counts
        attempt = Attempt(request, server, self._one_way_to(server) if self._one_way_s else 0.0)
        attempt.engine = engine_request(request, input_tokens, output_tokens, now, content, output_name, lora, attempt)
        handoff = attempt.handoff = Handoff(attempt, source)
        attempt.leg = handoff.leg = engine_request(request, input_tokens, 1, now, content, None, lora, handoff)
        server.take(input_tokens)
        source.take(input_tokens)
        counts.out += 1
        counts.split += 1
        protocol, at_s = self._protocol, now + attempt.one_way_s
        if protocol != "pull":
            self._to_decode(handoff, at_s)
        if protocol == "reserve_first":
            handoff.reserved = Moment(self._has_reserved, handoff)
        else:
            self._to_prefill(handoff, at_s)
        return attempt

    # -- the prompt ----------------------------------------------------------------------------------------------------

    def _to_prefill(self, handoff: Handoff, at_s: float) -> None:
        enters_s = handoff.server.front_end.enters_s(at_s, handoff.leg.prompt_len)
        self._clock.put(enters_s, ARRIVAL, PromptEnters(self._prefill_enters, handoff))

    def _has_reserved(self, moment: Moment) -> None:
        self._to_prefill(moment.value, self._clock.now + self._hop_s)

    def _prefill_enters(self, moment: Moment) -> None:
        """Where nobody waits, or nobody is there."""
        handoff: Handoff = moment.value
        replica = handoff.server.replica
        if replica.stopped:
            self._prefill_failed(handoff)
        elif handoff.attempt.live or not self._abort_on_disconnect:
            replica.submit(handoff.leg, last=True)
        else:
            prefill_over(handoff, self._recorder)
            self._undelivered(handoff.attempt)

    def _prefill_failed(self, handoff: Handoff) -> None:
        """The prefill replica died with the request."""
        prefill_over(handoff, self._recorder)
        self._wires.writer_gone(handoff)
        if self._protocol == "pull":
            attempt = handoff.attempt
            self._undelivered(attempt)
            if attempt.live:
                attempt.live = False
                self._listener.lost(attempt)

    def _undelivered(self, attempt: Attempt) -> None:
        """The decode replica will not get the request."""
        if self._protocol == "pull":
            attempt.server.let_go(attempt.engine.prompt_len)
            attempt.engine.owner = attempt.handoff = None
            self._counts.out -= 1
            self._listener.room_made()

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _to_decode(self, handoff: Handoff, at_s: float) -> None:
        attempt = handoff.attempt
        enters_s = attempt.server.front_end.enters_s(at_s, attempt.engine.prompt_len)
        self._clock.put(enters_s, ARRIVAL, AnswerEnters(self._decode_enters, handoff))

    def _decode_enters(self, moment: Moment) -> None:
        """Where nobody waits, or nobody is there."""
        handoff: Handoff = moment.value
        attempt = handoff.attempt
        if attempt.server.replica.stopped:
            self._evict(attempt.engine)
        elif attempt.live or not self._abort_on_disconnect:
            handoff.entered_s = self._clock.now
            attempt.server.replica.submit(attempt.engine, last=True)
        else:
            self._wires.reader_gone(handoff)
            super().aborted(attempt.engine)
            attempt.handoff = None

    # -- ends ----------------------------------------------------------------------------------------------------------

    def abandon(self, attempt: Attempt) -> None:
        """See ``Dispatcher``: both engines are told."""
        super().abandon(attempt)
        handoff = attempt.handoff
        if handoff is not None and self._abort_on_disconnect and handoff.leg.submitted and handoff.leg.owner is not None:
            handoff.server.replica.abort(handoff.leg)

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        owner = request.owner
        if isinstance(owner, Handoff):  # the prompt is computed, and its blocks are pinned
            prefill_over(owner, self._recorder)
            if self._protocol == "pull":
                self._to_decode(owner, self._clock.now + self._hop_s)
            self._wires.prefilled(owner)
        else:
            Dispatcher.finished(self, request)
            owner.handoff = None

    def aborted(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        owner = request.owner
        if isinstance(owner, Handoff):
            prefill_over(owner, self._recorder)
            self._undelivered(owner.attempt)
            return
        super().aborted(request)
        handoff = owner.handoff
        if handoff is not None:
            self._wires.given_up(handoff)
            self._not_asked(handoff)

    def failed(self, request: EngineRequest) -> None:
        """See ``EngineListener``: what the prefill replica does not have any more could not be read."""
        attempt: Attempt = request.owner
        attempt.reason = "kv_load_failed"
        self._evict(request)

    def _evict(self, request: EngineRequest) -> None:
        owner = request.owner
        if isinstance(owner, Handoff):
            self._prefill_failed(owner)
            return
        super()._evict(request)
        handoff = owner.handoff
        if handoff is not None:
            self._wires.reader_gone(handoff)
            self._not_asked(handoff)

    def unfinished(self, requests: Sequence[EngineRequest], server: Server) -> None:
        """See ``Dispatcher``."""
        for request in requests:
            if isinstance(request.owner, Handoff):
                prefill_over(request.owner, self._recorder)
        super().unfinished([request for request in requests if request.owner is not None], server)

    def _not_asked(self, handoff: Handoff) -> None:
        """The reader is gone; where it had not reserved its blocks yet the prefill replica is not asked any more."""
        handoff.attempt.handoff = None
        if handoff.reserved is not None and not handoff.wanted_tokens:
            prefill_over(handoff, self._recorder)


class PromptEnters(Moment):
    """The prompt of a handoff comes out of the front end of the prefill replica; its callback where that is no use."""

    __slots__ = ()

    def happen(self) -> None:
        """See ``Moment``."""
        handoff: Handoff = self.value
        if handoff.server.replica.stopped or not handoff.attempt.live:
            super().happen()
        else:
            handoff.server.replica.submit(handoff.leg, last=True)


class AnswerEnters(Moment):
    """The request of a handoff comes out of the front end of the decode replica; its callback where that is no use."""

    __slots__ = ()

    def happen(self) -> None:
        """See ``Moment``."""
        handoff: Handoff = self.value
        attempt = handoff.attempt
        replica = attempt.server.replica
        if replica.stopped or not attempt.live:
            super().happen()
        else:
            handoff.entered_s = replica.clock.now
            replica.submit(attempt.engine, last=True)


def prefill_over(handoff: Handoff, recorder: Recorder) -> None:
    """The prefill replica has the request no longer."""
    server, leg = handoff.server, handoff.leg
    server.let_go(leg.prompt_len)
    row = handoff.attempt.request.row
    recorder.worked(server.pool, row, leg.prompt_tokens_computed(), leg.sampled)
    recorder.wasted_tokens[row] += leg.sampled
    server.wasted_tokens += leg.sampled
    leg.owner = None


def make_dispatcher(
    spec: GatewaySpec,
    clock: Clock,
    recorder: Recorder,
    counts: Counts,
    listener: AttemptListener,
    transfer: KvTransferSpec,
    splitting: Splitting | None,
) -> tuple[Dispatcher, KvWires | None]:
    """The dispatcher of a gateway, and what KV caches travel over where it splits requests."""
    one_way_s = dict(spec.network_one_way_s)
    if splitting is None:
        return Dispatcher(clock, recorder, counts, listener, spec.abort_on_disconnect, one_way_s), None
    wires = KvWires(clock, splitting.spec, transfer, recorder, counts)
    return SplitDispatcher(clock, recorder, counts, listener, spec.abort_on_disconnect, one_way_s, splitting, wires), wires
