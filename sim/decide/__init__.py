"""Options side by side at the same traffic and SLO: simulated, sized, priced, and set against the cheapest API."""

from sim.decide.break_even import BreakEven, find_break_even
from sim.decide.options import Option, api_options, kind_of
from sim.decide.table import Row, decide_options

__all__ = ["BreakEven", "Option", "Row", "api_options", "decide_options", "find_break_even", "kind_of"]
