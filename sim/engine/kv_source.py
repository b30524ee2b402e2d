"""Where an engine's KV comes from besides its own computing. Plain classes that do nothing, like listeners: not compiled, so
that any class may be one.

A source is asked at each admission, and tells its replica, at the moment on the clock at which it happens, what has become
of a load (``Replica.kv_loaded``), that pinned blocks may go (``Replica.kv_released``), or that an answer which it put off
can be had (``Replica.look_again``).
"""

from __future__ import annotations

from typing import NamedTuple

from sim.engine.batch import Batch
from sim.engine.request import EngineRequest


class Offer(NamedTuple):
    """Tokens that a source holds behind those of the local prefix hit, and how they come: while the request waits
    (asynchronous), or within the step that admits it."""

    tokens: int
    asynchronous: bool


NOTHING = Offer(0, False)


class KvSource:
    """A prefill engine, a store, a tier: whoever holds KV for one engine, or wants what it computed."""

    follows = False
    """It is told of requests that are ``over``, and of calls of the scheduler (``begins`` and ``composed``): of each, but
    for steps that are ``unseen``; and it may want a call, or act in one (``wants_call``, ``acted``)."""

    watches = False
    """It is told of what the engine ``computes``."""

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """What it holds of ``request`` beyond ``local_tokens`` that the engine's own cache has; None = ask later."""
        return NOTHING

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """The blocks for ``tokens`` behind ``local_tokens`` are there: the load starts now. Returns what a synchronous one
        adds to the step, in the clock's unit; of an asynchronous one ``Replica.kv_loaded`` tells the end."""
        return 0.0

    def keeps(self, request: EngineRequest) -> bool:
        """``request`` has its last token: whether its blocks stay, pinned, until ``Replica.kv_released``."""
        return False

    def computes(self, batch: Batch) -> None:
        """``batch``, which has chunks of prompts, was launched: its times are known."""

    def over(self, request: EngineRequest) -> None:
        """``request`` has its last token; its blocks are about to be freed, or pinned."""

    def begins(self) -> None:
        """A call of the scheduler begins."""

    def composed(self, batch: Batch, served: list[tuple[EngineRequest, int]]) -> float:
        """It is over: ``batch`` serves the requests ``served``, in the scheduler's order, which then have that many tokens.
        Returns the moment before which the step cannot start."""
        return 0.0

    def unseen(self) -> int:
        """Steps behind the latest call, of the same decodes and nothing else, of which one that follows need not be told
        unless it says something first (``Replica.look_again``): they may be skipped."""
        return 0

    def wants_call(self) -> bool:
        """Whether an engine with nothing to schedule is to call its scheduler nevertheless."""
        return False

    def acted(self) -> bool:
        """Whether the latest call did something, though it may have scheduled nothing."""
        return False

    def heard(self, news: object) -> None:
        """``news``, which it told its replica (``Replica.kv_news``), has come out with a step's output."""

    def dropped(self, request: EngineRequest) -> None:
        """``request`` was aborted, or ended with an error: it loads no more."""
