"""A client's request on its way through the gateway, and the attempts that serve it."""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import Any, NamedTuple, Protocol

from sim.engine.clock import Moment
from sim.engine.request import Content, EngineRequest
from sim.fleet.server import Server
from sim.gateway.life import Life
from sim.record.recorder import FAILED, REJECTED, SHED, TIMED_OUT
from sim.spec.gateway.retrying import FailureKind


class RequestView(Protocol):
    """What a policy may know of a request: everything a real gateway sees, and nothing of the answer's length."""

    @property
    def row(self) -> int:
        """Its number."""
        ...

    @property
    def arrival_s(self) -> float:
        """When the client first sent it."""
        ...

    @property
    def input_tokens(self) -> int:
        """Tokens of its prompt."""
        ...

    @property
    def priority(self) -> int:
        """Lower is sooner."""
        ...

    @property
    def route(self) -> str:
        """Label, "" when the trace has none; likewise the next three."""
        ...

    @property
    def tenant(self) -> str:
        """Who pays."""
        ...

    @property
    def session_id(self) -> str:
        """Its conversation."""
        ...

    @property
    def prompt_id(self) -> str:
        """Equal for equal prompts."""
        ...

    @property
    def lora(self) -> str:
        """LoRA adapter that it asks for; "" = the base model."""
        ...

    @property
    def content(self) -> Content | None:
        """What the prompt consists of; None = shares nothing with anybody."""
        ...

    @property
    def attempts(self) -> int:
        """Attempts so far, the present one included."""
        ...


class Failure(NamedTuple):
    """Why an attempt brought no answer."""

    kind: FailureKind | str
    """A ``FailureKind``, or ``rejected``: no use trying again."""
    reason: str
    retry_after_s: float | None = None
    server: int = -1
    """Index of the replica that failed, -1 = none in particular."""


Stretch = Generator[None, Any, Failure | None]
"""A stretch of a request's life; returns None when it has its answer."""

OUTCOME: dict[str, int] = {
    "timeout": TIMED_OUT, "shed": SHED, "evicted": FAILED, "unavailable": FAILED, "rejected": REJECTED
}  # fmt: skip
"""How a request ends that ends with a failure of this kind."""


TIMEOUT = Failure("timeout", "client_timeout")


class ClientRequest:
    """One client request. Satisfies ``RequestView``."""

    __slots__ = (
        "accept", "arrival_s", "attempts", "content", "deadline_s", "expired", "hedges", "input_tokens", "life", "live",
        "lora", "open", "passed", "priority", "prompt_id", "route", "row", "session_id", "tenant", "tries", "withdrawn",
    )  # fmt: skip

    def __init__(self, row: int, arrival_s: float, input_tokens: int, priority: int = 0) -> None:
        self.row = row
        self.arrival_s = arrival_s
        self.input_tokens = input_tokens
        self.priority = priority
        self.route = ""
        self.tenant = ""
        self.session_id = ""
        self.prompt_id = ""
        self.lora = ""
        self.accept: tuple[int, ...] = ()
        """Drafts that its verifications accept, where the trace says so."""
        self.content: Content | None = None
        self.deadline_s = inf
        """When its first token is due by the objective."""
        self.attempts = 1
        self.hedges = 0
        self.tries = 0
        """Grows where a try begins and ends: tells an old timer from the present one. 0: no policy applies to it."""
        self.open = True
        """It has no outcome yet."""
        self.live: list[Attempt] = []
        """Attempts whose answer somebody waits for."""
        self.life: Life | None = None
        """What waits for an ``Attempt`` that answers, a ``Failure`` or an ``Answer``; None where no policy asks for one."""
        self.expired = False
        """The client's patience, for this try or for all of them, is over."""
        self.withdrawn: float | None = None
        """What this try took from the retry budget; None = it is the first, or there is no budget."""
        self.passed = False
        """The passes before serving are done."""

    def wake(self, signal: Any, at_once: bool = False) -> bool:
        """Let the request's life go on with ``signal``; False if it does not wait, or already has news. See ``Life``."""
        return self.life is not None and self.life.wake(signal, at_once)

    @property
    def news(self) -> Any:
        """What its latest wait ended with, or could not begin for."""
        return TIMEOUT if self.life is None else self.life.news

    @property
    def has_news(self) -> bool:
        """Whether its life is about to go on."""
        return self.life is not None and self.life.has_news


def still_trying(item: tuple[ClientRequest, int]) -> bool:
    """Whether a request is at the same try as when its timer was set, and has no news yet."""
    request, tries = item
    return request.tries == tries and not request.has_news


class Attempt:
    """One try at one server: the owner of an ``EngineRequest``."""

    __slots__ = ("engine", "handoff", "leg", "live", "of_pass", "one_way_s", "reason", "request", "server")

    def __init__(self, request: ClientRequest, server: Server, one_way_s: float = 0.0) -> None:
        self.request = request
        self.server = server
        self.one_way_s = one_way_s
        """How long it travels, and its answer."""
        self.engine: EngineRequest
        self.live = True
        """Somebody waits for its answer."""
        self.of_pass = False
        """It is the work of a pass: its request learns whether it was done, and its answer is nobody's."""
        self.reason = "evicted"
        """Why it failed, once it has."""
        self.handoff: Handoff | None = None
        """Set while another server computes the prompt, or has it."""
        self.leg: EngineRequest | None = None
        """The prompt there."""

    def scheduled_at(self) -> float | None:
        """When an engine first scheduled it; None = not yet. A prefill replica may die before it does."""
        leg = self.leg
        return leg.scheduled_at if leg is not None and leg.scheduled_at is not None else self.engine.scheduled_at

    def cached_tokens(self) -> int:
        """Tokens of the prompt that no engine had to compute for it."""
        return self.engine.cached_tokens if self.leg is None else self.leg.cached_tokens

    def preemptions(self) -> int:
        """Times that engines took its place away."""
        return self.engine.preemptions + (0 if self.leg is None else self.leg.preemptions)

    def begun(self, now_s: float) -> bool:
        """Whether its first token is with the client."""
        first_s = self.engine.first_token_at
        return first_s is not None and first_s + self.one_way_s <= now_s


class Handoff:
    """A prompt that one server computes for an attempt at another: the owner of the first one's ``EngineRequest``, and the
    KV cache on its way from there to here."""

    __slots__ = (
        "attempt", "begun_s", "chunk_from_s", "chunk_to_s", "chunk_tokens", "entered_s", "first_token",
        "given_up", "leg", "loaded", "lost", "parts", "pinned", "prefilled_s", "reserved", "sent_bytes", "server",
        "size_bytes", "wanted_tokens",
    )  # fmt: skip

    def __init__(self, attempt: Attempt, server: Server) -> None:
        self.attempt = attempt
        self.server = server
        """Who computes the prompt."""
        self.leg: EngineRequest
        self.prefilled_s: float | None = None
        """When the prompt was computed."""
        self.pinned = False
        """Its blocks stay where they were computed."""
        self.lost = False
        """They are there no longer."""
        self.given_up = False
        """Nobody waits for them any more."""
        self.reserved: Moment | None = None
        """What is to happen when the reader has reserved its blocks."""
        self.entered_s = inf
        """When the reader got the request: it sends heartbeats from then on."""
        self.begun_s = 0.0
        """When it had reserved its blocks."""
        self.first_token = 0
        """Tokens of the prompt that it has cached."""
        self.wanted_tokens = 0
        """Tokens after these that it waits for; 0 = it has not reserved yet."""
        self.loaded = False
        """It was told that they are there, or will not come."""
        self.size_bytes = 0.0
        """Of these, whole blocks."""
        self.sent_bytes = 0.0
        """Sent, or on their way."""
        self.parts: list[Any] = []
        """Transfers under way."""
        self.chunk_tokens = 0
        self.chunk_from_s = 0.0
        self.chunk_to_s = 0.0
        """The chunk under way: tokens of the prompt when it ends, and when it is computed; where somebody watches."""


class Answer:
    """A whole answer, wherever it comes from."""

    __slots__ = ("finish_s", "first_token_s", "output_tokens")

    def __init__(self, first_token_s: float, finish_s: float, output_tokens: int) -> None:
        self.first_token_s = first_token_s
        self.finish_s = finish_s
        self.output_tokens = output_tokens
