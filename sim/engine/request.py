"""``EngineRequest``: one attempt at a request, as the engine sees it.

There is no prefill or decode phase in the scheduler's rules: a step gives a request tokens so that ``computed`` catches
up with ``target``, and the request samples a token when it has. ``decoding`` marks the common special case, one token
to compute and one sampled at every step; such a request's position follows from the step counter (``DecodeSet``), so
nothing of it is touched while it runs.

``output_len`` is the true length. Only the engine reads it; routers, admission and retry policies never see this class.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Any, Final

from sim.engine.acceptance import AcceptancePath
from sim.engine.draft_state import DraftState

Content = tuple[tuple[Hashable, int], ...]
"""What a prompt consists of: segments ``(name, tokens)``. The i-th token of a segment is the same wherever the segment's
name occurs, and differs from every other token; equal leading segments are a shared prefix."""


class EngineRequest:
    """State of one attempt inside one engine. Counts are tokens; times are in the clock's unit, None until known."""

    __slots__ = (
        "abort_reason", "accept", "announces", "arrival", "cached_tokens", "computed", "content", "deadline", "decoding",
        "drafts", "dropped_until", "external_tokens", "finish_tick", "finished_at", "first_token_at", "held_at",
        "high_water", "holding", "key", "last_step", "least_blocks", "loading", "lora", "max_output", "offset",
        "output_name", "owner", "path", "preemptions", "priority", "prompt_len", "rank", "recomputed", "registered",
        "request_id", "route", "running", "runs", "sampled", "scheduled_at", "seq", "stale_until", "submitted", "target",
    )  # fmt: skip

    def __init__(
        self,
        request_id: Any,
        prompt_len: int,
        output_len: int,
        arrival: float = 0.0,
        priority: int = 0,
        content: Content | None = None,
        output_name: Hashable | None = None,
        owner: Any = None,
    ) -> None:
        self.request_id = request_id
        self.prompt_len = prompt_len
        self.max_output = output_len
        self.arrival = arrival
        self.priority = priority
        self.deadline = inf
        """When its first token is due; for engines that look at it."""
        self.key: tuple[float, float, Any] = (float(priority), arrival, request_id)
        """Order under a policy that orders: smallest first."""
        self.content = content
        """None: nothing of the prompt is shared with anybody."""
        self.output_name = output_name
        """Segment name of the generated tokens, for prompts of later turns. Where this and ``content`` are None, nobody will
        ever ask for prompt or answer, not even another attempt."""
        self.owner = owner
        """Whatever the caller wants to find again (the gateway's request)."""
        self.rank = 0
        """Of a group of engines, the one that has it."""
        self.announces = False
        """Whoever sent it wants to know of its first token."""
        self.computed = 0
        """Tokens whose KV exists or is being computed; while ``decoding`` it is ``offset`` + the engine's tick."""
        self.target = prompt_len
        """Prompt plus sampled tokens (those in flight included)."""
        self.sampled = 0
        self.high_water = 0
        """Most tokens ever computed: what lies below is recomputed after a preemption."""
        self.recomputed = 0
        self.cached_tokens = 0
        """Prefix-cache hit of the first admission."""
        self.preemptions = 0
        self.submitted = False
        self.running = False
        self.decoding = False
        self.offset = 0
        self.finish_tick = 0
        self.seq = 0
        """Order of admission; output order within a step."""
        self.last_step = 0
        """Number of the last step that scheduled a chunk of it."""
        self.held_at = 0
        """Number of the last step that left it, decoding, without a token."""
        self.stale_until = 0
        """Not admitted again before this step has returned (its output is still in flight)."""
        self.holding = False
        """It waits in the queue of those whose KV is, or was, on its way."""
        self.loading = False
        """Its KV is on its way; it holds blocks, and no seat."""
        self.external_tokens = 0
        """Tokens of its latest load."""
        self.least_blocks = 0
        """Blocks that it holds at the least, whatever it has computed: those of a load."""
        self.dropped_until = 0
        """Output of steps up to this one is thrown away."""
        self.registered = 0
        """Full blocks whose hash is in the prefix cache."""
        self.runs: list[Any] = []
        self.path: list[Any] | None = None
        self.scheduled_at: float | None = None
        self.first_token_at: float | None = None
        self.finished_at: float | None = None
        self.abort_reason: str | None = None
        self.lora: Hashable = None
        """The LoRA adapter that it asks for; None = the base model."""
        self.route = ""
        """Its label, where the acceptance of drafts goes by it."""
        self.accept: AcceptancePath | None = None
        """Its own acceptance of drafts; None = as the engine has it."""
        self.drafts: DraftState | None = None
        """What speculation keeps of it."""

    def prompt_tokens_computed(self) -> int:
        """Tokens of the prompt that the engine computed for it so far: cache hits not counted, what was computed again after
        a preemption counted again."""
        reached = self.prompt_len if self.sampled else min(self.prompt_len, max(self.computed, self.high_water))
        return max(reached - self.cached_tokens, 0) + self.recomputed


NOBODY: Final[list[EngineRequest]] = []
"""What a list of requests that is usually empty begins as: who adds to one makes one of its own."""
