"""``Drafts``: speculative decoding in the scheduler, the named point that both phases, booking and returning ask.

A request that has sampled stands one token behind what is known (or in flight) and brings its drafts: a step gives it
1 + drafts tokens to verify. The rules (vLLM 0.33, ``v1/core/sched/scheduler.py``):

* Every running request holds blocks for L slots beyond the tokens it is given; what rejected drafts took is not given back.
* A request takes S rows of the input buffer (``max_num_batched_tokens``) besides its tokens.
* One that is admitted with a single token to compute is padded with drafts that nobody made, so that the step stays uniform.
* When a step returns, a verification of d drafts of which a are accepted gives a + 1 tokens and puts the request d - a
  tokens back; what goes beyond its limit is thrown away.
* Synchronous: the next drafts are made when a step returns. Asynchronous: when it is composed, as if all were accepted.
* With dynamic drafts their number follows from how many requests the step before scheduled; nothing is padded.
* Drafting layers read the token behind a block: with several prediction layers a prompt keeps as many tokens for its last
  chunk, and a block's key covers them, or the last block of a hit is computed again (``sim.engine.prefix_cache``).

No steps are skipped: an engine that speculates steps. (Acceptance is known ahead, ``sim.engine.acceptance``, but positions
spread at every step, so a run is not affine in them.) Where order cannot matter, ``sim.engine.verifiers`` serves all
requests in one pass; here are the rules for each.
"""

from __future__ import annotations

from sim.engine.acceptance import AcceptancePath, AcceptancePaths
from sim.engine.batch import Batch, Speculation
from sim.engine.block_pool import CountingBlockPool
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.draft_state import DraftState
from sim.engine.prefix_cache import PrefixBlockPool
from sim.engine.request import NOBODY, EngineRequest
from sim.perf.step_time import VerificationTime, Verified
from sim.spec import EngineSpec


class Drafts:
    """Speculation of one engine.

    Args:
        engine: resolved options, with drafts.
        time: how long its steps take; a running request with an adapter makes it ``with_adapters``.
        paths: who accepts how many; None = requests bring their own ``accept``.
    """

    def __init__(
        self,
        engine: EngineSpec,
        time: VerificationTime,
        paths: AcceptancePaths | None = None,
        with_adapters: VerificationTime | None = None,
    ) -> None:
        spec = engine.speculative
        assert engine.max_num_batched_tokens is not None
        assert engine.max_model_len is not None
        self.time = time
        self.with_adapters = with_adapters or time
        self.most = spec.drafts
        self.lookahead = spec.lookahead_slots()
        self.extra_rows = spec.extra_rows()
        self.read_ahead = spec.prefill_lookahead()
        self._paths = paths
        self._by_batch = spec.num_speculative_tokens_per_batch_size
        self.static = self._by_batch is None
        """Every step is followed by the same number of drafts."""
        self.asynchronous = engine.async_scheduling
        self._input_tokens = engine.max_num_batched_tokens
        self.max_model_len = engine.max_model_len
        self._block_size = engine.block_size
        self._next = spec.drafts
        """Drafts that follow the step composed last."""
        self.given: dict[EngineRequest, int] = {}
        """Drafts that the step being composed verifies."""
        self.alike: list[EngineRequest] = NOBODY
        """Requests that verify all their drafts in it, booked already ..."""
        self.alike_context = 0
        """... and the tokens computed before them."""
        self._padded: dict[EngineRequest, None] = {}
        self._pads = False
        self._serves = False
        self.inputs = 0
        """Rows that the step being composed has left."""
        self.drafted = 0
        """Drafts verified so far, and accepted."""
        self.accepted = 0
        self.verified = 0
        """Verifications so far."""

    def state(self, request: EngineRequest) -> DraftState:
        """What is kept of ``request``."""
        state = request.drafts
        if state is None:
            path = request.accept
            if path is None:
                path = self._paths.of(request.request_id, request.route) if self._paths is not None else AcceptancePath((0,))
            state = request.drafts = DraftState(path)
        return state

    # -- while a step is composed --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A step begins to be composed."""
        self.inputs = self._input_tokens
        self.alike = NOBODY
        self.alike_context = 0
        self.given = {}
        self._padded = {}

    @property
    def room(self) -> bool:
        """Whether the input buffer takes another request."""
        return self.inputs > self.extra_rows

    def at_most(self, budget: int) -> int:
        """Tokens that another request may get of ``budget``, as far as the input buffer goes."""
        return min(budget, self.inputs - self.extra_rows)

    def wanted(self, request: EngineRequest) -> int:
        """Tokens that running ``request`` lacks, its drafts included; 0 when its last token is surely in flight."""
        state = self.state(request)
        in_flight = request.target - request.prompt_len - request.sampled
        if in_flight > 0 and request.computed + 2 - in_flight >= request.prompt_len + request.max_output:
            return 0
        return request.target + state.attached - request.computed

    def cut(self, request: EngineRequest, n: int) -> int:
        """``n`` tokens of a running request as far as the input buffer and the model's length let it."""
        n = min(n, self.inputs - self.extra_rows, self.max_model_len - request.computed - 1)
        return self.leave_enough(request, request.computed, n)

    def leave_enough(self, request: EngineRequest, before: int, n: int) -> int:
        """``n`` tokens behind ``before``, or fewer: several prediction layers read ahead, so that the last chunk of a prompt
        has at least as many tokens."""
        rest = request.prompt_len + request.sampled - before - n
        return max(0, n - (self.read_ahead - rest)) if 0 < rest < self.read_ahead else n

    def slots(self, tokens: int) -> int:
        """KV slots of a request that has been given up to ``tokens``."""
        return min(tokens + self.lookahead, self.max_model_len)

    def blocks(self, tokens: int) -> int:
        """Blocks of them."""
        return -(-self.slots(tokens) // self._block_size)

    def lacking(self, request: EngineRequest, before: int, n: int, grouped: GroupedBlockPool | None) -> int:
        """Blocks that running ``request``, which stands at ``before``, lacks to be given ``n`` tokens."""
        state = self.state(request)
        if grouped is not None:
            return grouped.lacking(request, before - state.in_flight, self.slots(before + n))
        return max(0, self.blocks(before + n) - state.blocks)

    def serve(
        self, request: EngineRequest, n: int, blocks: int, pool: CountingBlockPool | PrefixBlockPool,
        grouped: GroupedBlockPool | None,
    ) -> None:  # fmt: skip
        """A running request gets ``n`` tokens and ``blocks`` more, which are there."""
        state = self.state(request)
        if grouped is not None:
            grouped.grow(request, self.slots(request.computed + n))
        else:
            state.blocks += blocks
            pool.take(blocks)
        self.inputs -= n + self.extra_rows
        verified = min(state.attached, n + request.computed - request.target)
        if verified > 0:
            self.given[request] = verified
        state.attached = 0
        if pool.caching:
            pool.register(request, self.named(request, request.computed + n))

    def take_back(self, request: EngineRequest, n: int) -> None:
        """``request``, which had ``n`` tokens of this step, is preempted."""
        if n:
            self.inputs += n + self.extra_rows
            self.given.pop(request, None)

    def named(self, request: EngineRequest, tokens: int) -> int:
        """Tokens, of ``tokens`` given to a request, whose blocks may get findable."""
        known = min(tokens, request.prompt_len + request.sampled)
        return max(0, known - (self.read_ahead - 1)) if self.read_ahead > 1 else known

    def before_admission(self, batch: Batch, prefilling: dict[EngineRequest, None]) -> None:
        """Phase A is over: who of the ``prefilling`` is in ``batch`` decides about padding."""
        self._serves = bool(batch.prefills or self.alike)
        self._pads = self._by_batch is None
        for request, _, _ in batch.prefills:
            if request in prefilling:
                self._pads = False
                break

    def pads(self, lacking: int, computed: int) -> bool:
        """Whether a request that lacks ``lacking`` tokens behind ``computed`` is padded when it is admitted."""
        if lacking != 1 or not self._pads or not (self._serves or computed):
            return False
        return computed + self.most + 2 <= self.max_model_len

    def admit(self, request: EngineRequest, n: int, blocks: int, padded: bool) -> None:
        """``request`` is seated with ``blocks`` and gets ``n`` tokens; ``padded``: all but one are drafts of nobody."""
        state = self.state(request)
        state.blocks = blocks
        self.inputs -= n + self.extra_rows
        if padded:
            self.given[request] = self.most
            self._padded[request] = None

    def preempted(self, request: EngineRequest) -> None:
        """``request`` has lost its blocks and its drafts; tokens in flight are nobody's until they return."""
        state = self.state(request)
        state.attached = 0
        state.blocks = 0
        request.target = request.prompt_len + request.sampled

    def step_time(self, batch: Batch, adapted: bool) -> float:
        """How long ``batch`` takes; ``adapted``: a running request has an adapter."""
        speculation = batch.speculation
        assert speculation is not None
        return (self.with_adapters if adapted else self.time).verification(speculation.prompts, speculation.verified)

    @property
    def drafting_s(self) -> float:
        """Time that drafting took so far."""
        others = 0.0 if self.with_adapters is self.time else self.with_adapters.drafting_s
        return self.time.drafting_s + others

    # -- when it is composed, and when it returns ----------------------------------------------------------------------

    def book(self, batch: Batch, prefilling: dict[EngineRequest, None], number: int) -> None:
        """Advance everybody in ``batch``, step ``number``, by what was given; who has its whole prompt leaves
        ``prefilling``."""
        speculation = batch.speculation = Speculation(self.given, self._padded, self.alike)
        self._next = speculation.next_drafts = self._drafts_after(len(batch.prefills) + len(self.alike))
        requests = len(self.alike)
        rows, context = requests * (1 + self.most), self.alike_context
        uniform = True
        for request, n, before in batch.prefills:
            state = self.state(request)
            request.computed += n
            request.last_step = number
            state.in_flight += n
            if request in self._padded or request not in prefilling:
                requests += 1
                rows += n
                context += before
                uniform = uniform and n == 1 + self.most
            else:
                speculation.prompts.append((n, before))
            if request.computed >= request.target:
                prefilling.pop(request, None)
                batch.sample(request)
                returns = 1 + self.given.get(request, 0)
                if self.asynchronous:
                    request.target += returns
                    state.attached = self._next
                    returns = request.target - request.prompt_len - request.sampled
                if returns >= request.max_output - request.sampled:
                    batch.announces = True  # it may be its last
        if requests:
            speculation.verifying = requests
            speculation.verified = Verified(requests, rows, context, uniform and not speculation.prompts)

    def _drafts_after(self, requests: int) -> int:
        if self._by_batch is None or not requests:
            return self.most
        found = 0
        for first, _, drafts in self._by_batch:
            if first > requests:
                break
            found = drafts
        return min(found, self.most)

    def returned(self, request: EngineRequest, batch: Batch) -> int:
        """The output of ``request`` in ``batch`` is here; the tokens below which its blocks may get findable, -1 = none."""
        state, speculation = self.state(request), batch.speculation
        assert speculation is not None
        drafts = speculation.drafts.get(request, 0)
        accepted = 0
        if drafts and request not in speculation.padded:
            accepted = state.path.accepted(state.verified, drafts)
            state.verified += 1
            state.drafted += drafts
            state.accepted += accepted
            self.verified += 1
            self.drafted += drafts
            self.accepted += accepted
        stale = batch.number <= request.stale_until
        in_flight = request.target - request.prompt_len - request.sampled
        tokens = min(accepted + 1, request.max_output - request.sampled)
        request.sampled += tokens
        speculation.delivered.append((request, tokens))
        speculation.tokens += tokens
        state.over = request.sampled >= request.max_output
        if stale:
            request.target = request.prompt_len + request.sampled
            return -1
        if request.computed:
            request.computed -= drafts - accepted
        request.computed -= accepted + 1 - tokens
        left = in_flight - (drafts - accepted) - (accepted + 1) if in_flight else 0
        request.target = request.prompt_len + request.sampled + left
        if not self.asynchronous and not state.over:
            state.attached = state.path.proposed(state.proposed, speculation.next_drafts)
            state.proposed += 1
        return self.named(request, request.computed - state.in_flight) if request.running else -1
