"""``simulate``: the one place that wires clock, fleet, gateway and recorder together."""

from sim.run.simulate import simulate

__all__ = ["simulate"]
