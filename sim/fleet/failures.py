"""Hardware faults: exponential times between them, by GPU and by link.

A replica of n GPUs dies whole when one of them does, so its rate is n / MTBF. A link flap (replicas of several GPUs)
kills the engine, but not the machine: it restarts with weights and engine start alone.
"""

from __future__ import annotations

from sim.engine.clock import REPLICA, Moment
from sim.fleet.going import Going
from sim.fleet.roster import LifeListener
from sim.fleet.server import Server
from sim.rng import stream
from sim.spec.fleet import FailureSpec
from sim.units import SECONDS_PER_HOUR


class Failures(LifeListener):
    """Draws each machine's first GPU fault and first link flap when it comes up."""

    def __init__(self, going: Going, spec: FailureSpec, seed: int) -> None:
        self._going = going
        self._clock = going.roster.clock
        self._spec = spec
        self._seed = seed

    def machine_runs(self, server: Server) -> None:
        """See ``LifeListener``."""
        spec = self._spec
        for name, mtbf_h, parts in (
            ("gpu failure", spec.gpu_mtbf_h, server.gpus),
            ("link flap", spec.link_mtbf_h, 1 if server.gpus > 1 else 0),
        ):
            if mtbf_h is not None and parts:
                rng = stream(self._seed, "fleet", name, server.pool, server.index)
                after_s = float(rng.exponential(mtbf_h * SECONDS_PER_HOUR / parts))
                self._clock.at(self._clock.now + after_s, REPLICA, self._fault, (server, name))

    def _fault(self, moment: Moment) -> None:
        server, name = moment.value
        repair = "restart" if name == "link flap" else "replace"
        self._going.lose(server, name, repair)
