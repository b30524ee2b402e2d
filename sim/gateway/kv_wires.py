"""``KvWires``: KV caches on their way from the servers that computed them to those that asked for them.

    transfer = setup + bytes / rate
    bytes    = whole blocks of the prompt that the reader has not cached, all layers, all ranks

The rate is a max-min fair share of two links, the writer's NICs outwards and the reader's inwards (``sim.links``). One
transfer a prompt (pull), or one a prefill chunk; layer by layer (push) all layers but the last travel while their chunk is
computed, no faster than it is, and the last one after it, once that is set up.

Blocks are pinned where they were computed, from the end of the prefill to that of the transfer, or of the lease.
"""

from __future__ import annotations

from math import inf

from sim.engine.batch import Batch
from sim.engine.clock import DEADLINE, REPLICA, Clock, Moment
from sim.engine.kv_source import NOTHING, Offer
from sim.engine.request import EngineRequest
from sim.engine.traffic import Load, Traffic
from sim.fleet.server import Server
from sim.gateway.counts import Counts
from sim.gateway.request import Attempt, Handoff
from sim.links.transfers import Transfer
from sim.record.recorder import Recorder
from sim.spec.gateway.disaggregation import Disaggregation
from sim.spec.kv_transfer import KvTransferSpec


class KvWires:
    """All that travels between the servers of one fleet; ``by_chunks``: prefill chunks travel on their own."""

    def __init__(
        self, clock: Clock, spec: Disaggregation, transfer: KvTransferSpec, recorder: Recorder, counts: Counts
    ) -> None:
        self._clock = clock
        self._protocol = spec.protocol
        self.by_chunks = spec.protocol != "pull"
        self._setup_s = transfer.setup_s
        self._recorder = recorder
        self._counts = counts
        self._traffic = Traffic(clock)

    # -- what engines ask ----------------------------------------------------------------------------------------------

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """As ``KvSource``: all of the prompt, once."""
        handoff = _read_by(request)
        if handoff is None or handoff.wanted_tokens or handoff.given_up:
            return NOTHING
        return Offer(max(request.prompt_len - local_tokens, 0), True)

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """As ``KvSource``: the reader has blocks for the prompt."""
        handoff = _read_by(request)
        assert handoff is not None
        now = self._clock.now
        reader = handoff.attempt.server
        handoff.begun_s = now
        handoff.first_token, handoff.wanted_tokens = local_tokens, tokens
        handoff.size_bytes = _block_bytes(reader, local_tokens, request.prompt_len)
        if handoff.reserved is not None:
            handoff.reserved.happen()
            handoff.reserved = None
        self._send_chunk(handoff)
        if handoff.lost:
            self._clock.at(now + self._setup_s, REPLICA, self._cannot_read, handoff)
        elif handoff.prefilled_s is not None:
            self._send(handoff, handoff.size_bytes - handoff.sent_bytes, now + self._setup_s)
        return 0.0

    def keeps(self, request: EngineRequest) -> bool:
        """As ``KvSource``: a prompt that was computed for another server stays until that one has read it."""
        handoff = request.owner
        if not isinstance(handoff, Handoff):
            return False
        handoff.pinned = True
        handoff.server.handoffs += 1
        return True

    # -- what the dispatcher says --------------------------------------------------------------------------------------

    def prefilled(self, handoff: Handoff) -> None:
        """The prompt is computed, and pinned."""
        now = self._clock.now
        handoff.prefilled_s = now
        server = handoff.server
        if handoff.given_up or not server.heartbeats:
            self._clock.at(now + server.engine.kv_connector.lease_s, DEADLINE, self._lease_ends, handoff)
        if handoff.wanted_tokens and not handoff.given_up and (handoff.sent_bytes < handoff.size_bytes or not handoff.parts):
            self._send(handoff, handoff.size_bytes - handoff.sent_bytes, now + self._setup_s)

    def given_up(self, handoff: Handoff) -> None:
        """The reader wants the prompt no longer, and says so. Its blocks are not free before what is on its way to them has
        come."""
        handoff.given_up = True
        if handoff.parts:
            return
        if handoff.wanted_tokens and not handoff.loaded:
            self._loaded(handoff, handoff.first_token)
        self._release(handoff)

    def reader_gone(self, handoff: Handoff) -> None:
        """Nobody is there to read the prompt, nor to say so: its lease ends."""
        handoff.given_up = True
        self._cancel(handoff)
        if handoff.pinned:
            self._clock.at(max(self._lease_until(handoff), self._clock.now), DEADLINE, self._lease_ends, handoff)

    def writer_gone(self, handoff: Handoff) -> None:
        """The server that was to compute the prompt died with it."""
        handoff.lost = True
        if handoff.wanted_tokens and not handoff.given_up:
            self._fail(handoff)

    # -- chunks, where they travel on their own ------------------------------------------------------------------------

    def computes(self, batch: Batch) -> None:
        """As ``KvSource``: the chunks of ``batch`` will be computed when its first step ends."""
        for request, n, before in batch.prefills:
            handoff = request.owner
            if isinstance(handoff, Handoff):
                handoff.chunk_tokens = before + n
                handoff.chunk_from_s, handoff.chunk_to_s = batch.start, batch.start + batch.first
                self._send_chunk(handoff)

    def _send_chunk(self, handoff: Handoff) -> None:
        """Where chunks travel on their own: the one that is being computed, with what of those before it was not sent. The
        last one of a reader that takes whole chunks is sent when the prompt is done."""
        now = self._clock.now
        begins_s, ends_s = max(handoff.chunk_from_s, now), handoff.chunk_to_s
        if not self.by_chunks or not handoff.wanted_tokens or handoff.given_up or begins_s >= ends_s:
            return
        size_bytes = self._bytes_up_to(handoff, handoff.chunk_tokens) - handoff.sent_bytes
        if size_bytes <= 0.0:
            return
        layers = handoff.server.kv_layers
        if self._protocol == "push" and layers > 1:
            last_bytes = size_bytes / layers
            limit_bytes_per_s = (size_bytes - last_bytes) / (ends_s - begins_s)
            self._send(handoff, size_bytes, begins_s, limit_bytes_per_s, last_bytes, ends_s + self._setup_s)
        elif handoff.chunk_tokens < handoff.leg.prompt_len:
            self._send(handoff, size_bytes, ends_s + self._setup_s)

    def _bytes_up_to(self, handoff: Handoff, tokens: int) -> float:
        if tokens >= handoff.leg.prompt_len:
            return handoff.size_bytes
        token_bytes = handoff.attempt.server.kv_token_bytes
        return max(tokens - handoff.first_token, 0) * token_bytes

    # -- on the wire ---------------------------------------------------------------------------------------------------

    def _send(
        self,
        handoff: Handoff,
        size_bytes: float,
        begins_s: float,
        limit_bytes_per_s: float = inf,
        held_bytes: float = 0.0,
        held_until_s: float = 0.0,
    ) -> None:
        handoff.sent_bytes += size_bytes
        part = Part(self, handoff)
        handoff.parts.append(part)
        path = (handoff.server.nic_out, handoff.attempt.server.nic_in)
        part.transfer = self._traffic.send(
            size_bytes, path, limit_bytes_per_s, part, begins_s, held_bytes, held_until_s
        )

    def arrived(self, part: Part) -> None:
        """``part`` is there."""
        handoff = part.handoff
        handoff.parts.remove(part)
        part.transfer = None
        if handoff.given_up:
            self.given_up(handoff)
        elif handoff.server.replica.stopped and not handoff.lost:
            handoff.lost = True
            self._fail(handoff)
        elif not handoff.parts and handoff.prefilled_s is not None and handoff.sent_bytes >= handoff.size_bytes:
            self._all_there(handoff)

    def _all_there(self, handoff: Handoff) -> None:
        now = self._clock.now
        attempt = handoff.attempt
        prefilled_s = handoff.prefilled_s or 0.0
        moving_s = now - max(handoff.begun_s, prefilled_s)
        self._counts.handed_over += 1
        row, size_bytes = attempt.request.row, handoff.size_bytes
        self._recorder.moved(row, moving_s, now - prefilled_s, size_bytes, handoff.server.index)
        self._release(handoff)
        if self._protocol == "reserve_first" and attempt.engine.max_output > 1:
            self._take_first_token(handoff)
        self._loaded(handoff, attempt.engine.prompt_len)

    @staticmethod
    def _loaded(handoff: Handoff, good_tokens: int) -> None:
        """The reader is told that the prompt's first ``good_tokens`` are there, and the rest will not come."""
        handoff.loaded = True
        request = handoff.attempt.engine
        handoff.attempt.server.engines[request.rank].kv_loaded(request, good_tokens)

    def _take_first_token(self, handoff: Handoff) -> None:
        """The token that the writer sampled came with the prompt: the reader goes on with the second."""
        engine = handoff.attempt.engine
        engine.sampled = 1
        engine.target += 1
        engine.first_token_at = self._clock.now
        row = handoff.attempt.request.row
        self._recorder.wasted_tokens[row] -= 1
        handoff.server.wasted_tokens -= 1
        self._recorder.worked(handoff.attempt.server.pool, row, 0, -1)
        if engine.announces:
            handoff.attempt.server.replica.listener.first_token(engine)

    def _cannot_read(self, moment: Moment) -> None:
        handoff: Handoff = moment.value
        if not handoff.given_up:
            self._fail(handoff)

    def _fail(self, handoff: Handoff) -> None:
        """The reader learns that the prompt will not come."""
        self._counts.not_handed_over += 1
        self._cancel(handoff)
        handoff.given_up = True
        self._release(handoff)
        self._loaded(handoff, handoff.first_token)

    def _cancel(self, handoff: Handoff) -> None:
        for part in handoff.parts:
            if part.transfer is not None:
                self._traffic.cancel(part.transfer)
                part.transfer = None
        handoff.parts.clear()

    # -- pins and leases -----------------------------------------------------------------------------------------------

    def _release(self, handoff: Handoff) -> None:
        if not handoff.pinned:
            return
        handoff.pinned = False
        handoff.server.handoffs -= 1
        if not handoff.server.replica.stopped:
            handoff.server.engines[handoff.leg.rank].kv_released(handoff.leg)

    def _lease_until(self, handoff: Handoff) -> float:
        """When the lease ends if no heartbeat comes from now on."""
        connector = handoff.server.engine.kv_connector
        renewed_s = handoff.prefilled_s or 0.0
        now = self._clock.now
        if handoff.server.heartbeats and handoff.entered_s < now:
            period_s = connector.lease_s / 6.0
            renewed_s = max(renewed_s, handoff.entered_s + (now - handoff.entered_s) // period_s * period_s)
        return renewed_s + connector.lease_s

    def _lease_ends(self, moment: Moment) -> None:
        handoff: Handoff = moment.value
        if not handoff.pinned or handoff.parts:
            return
        self._counts.leases_ended += 1
        server = handoff.server
        self._recorder.event(
            self._clock.now, "kv_lease_ended", "nobody read it", pool=server.pool, replica=server.name,
            tokens=handoff.leg.prompt_len,
        )  # fmt: skip
        handoff.lost = True
        self._release(handoff)


class Part(Load):
    """What of a handoff travels as one transfer over ``wires``."""

    __slots__ = ("handoff", "transfer", "wires")

    def __init__(self, wires: KvWires, handoff: Handoff) -> None:
        self.wires = wires
        self.handoff = handoff
        self.transfer: Transfer | None = None

    def arrived(self) -> None:
        """See ``Load``."""
        self.wires.arrived(self)


def _read_by(request: EngineRequest) -> Handoff | None:
    owner = request.owner
    return owner.handoff if isinstance(owner, Attempt) else None


def _block_bytes(reader: Server, first_token: int, prompt_len: int) -> float:
    """Of the whole blocks from ``first_token`` on, all layers and ranks of ``reader``."""
    size = reader.engines[0].scheduler.limits.block_size
    return (-(-prompt_len // size) * size - first_token) * reader.kv_token_bytes
