"""``Reserve``: what other engines keep free before they admit a request, the admission's named point for it.

``max_output`` (TGI, TensorRT-LLM's GUARANTEED_NO_EVICT)
    Prompt and full output of everybody must fit, so nothing is ever preempted.
``forecast`` (SGLang)
    ratio x min(remaining output, 4096) of each running request, and the own min(output, 4096); the ratio falls linearly
    from 0.7 to 0.098 (x conservativeness) over 600 steps and starts again after a preemption or when the engine was empty.

An empty engine admits whatever fits alone. Sources: SGLang ``managers/schedule_policy.py``, TGI's router ``queue.rs``,
TensorRT-LLM's scheduler documentation (2025-2026).
"""

from __future__ import annotations

from typing import Literal

from sim.engine.books import Books
from sim.engine.request import EngineRequest

_MOST_FORECAST_TOKENS = 4096
_FIRST_RATIO, _LAST_RATIO, _DECAY_STEPS = 0.7, 0.7 * 0.14, 600


class Reserve:
    """One of the rules in the module's head; ``conservativeness`` scales the forecast's ratio."""

    def __init__(self, kind: Literal["max_output", "forecast"], conservativeness: float) -> None:
        self._forecasts = kind == "forecast"
        self._conservativeness = conservativeness
        self._since = 0
        self._preemptions_seen = 0

    def before_step(self, books: Books) -> None:
        """A step is about to be composed."""
        if books.preemptions > self._preemptions_seen or not books.running:
            self._preemptions_seen = books.preemptions
            self._since = books.composed

    def blocks_wanted(self, request: EngineRequest, books: Books) -> int:
        """Blocks, its hits included, that must be there for ``request`` to be admitted, whatever its first chunk takes."""
        size = books.block_size
        if not books.running:
            return -(-request.target // size) if books.limits.reserve_full_isl else 0
        if not self._forecasts:
            wanted = -(-(request.prompt_len + request.max_output - 1) // size)
            for other in books.running:
                wanted += -(-(other.prompt_len + other.max_output - 1) // size) - -(-books.position(other) // size)
            return wanted
        ratio = self.ratio(books.composed)
        forecast = 0.0
        for other in books.running:
            left = other.prompt_len + other.max_output - books.position(other)
            forecast += min(left, _MOST_FORECAST_TOKENS) * ratio
        own = min(request.max_output - request.sampled, _MOST_FORECAST_TOKENS)
        return -int(-(request.target + own + forecast) // size) + 1

    def ratio(self, composed: int) -> float:
        """Share of the remaining output reserved for running requests, ``composed`` steps being composed."""
        passed = min(1.0, (composed - self._since) / _DECAY_STEPS)
        return self._conservativeness * (_FIRST_RATIO + (_LAST_RATIO - _FIRST_RATIO) * passed)
