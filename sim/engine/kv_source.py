"""Where an engine's KV comes from besides its own computing. Plain classes that do nothing, like listeners: not compiled, so
that any class may be one.

A source is asked at each admission, and tells its replica, at the moment on the clock at which it happens, what has become
of a load (``Replica.kv_loaded``), that pinned blocks may go (``Replica.kv_released``), or that an answer which it put off
can be had (``Replica.look_again``).
"""

from __future__ import annotations

from typing import NamedTuple

from sim.engine.request import EngineRequest


class Offer(NamedTuple):
    """Tokens that a source holds behind those of the local prefix hit, and how they come: while the request waits
    (asynchronous), or within the step that admits it."""

    tokens: int
    asynchronous: bool


NOTHING = Offer(0, False)


class KvSource:
    """A prefill engine, a store, a tier: whoever holds KV for one engine, or wants what it computed."""

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

    def dropped(self, request: EngineRequest) -> None:
        """``request`` was aborted, or ended with an error: it loads no more."""
