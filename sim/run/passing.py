"""Time passes: the loop around all that a run does."""

from __future__ import annotations

from sim.engine.clock import Clock
from sim.record.recorder import Recorder


def let_time_pass(clock: Clock, recorder: Recorder) -> None:
    """Let moments happen until no request is open any more, or somebody has ended the run before."""
    while recorder.open_requests and recorder.stopped_early is None:
        clock.step()
