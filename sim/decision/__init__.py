"""Options side by side at the same traffic and SLO: simulated, sized, priced, and set against each API."""

from sim.decision.break_even import BreakEven, find_break_evens
from sim.decision.options import Option, api_options, apis_of_options, kind_of
from sim.decision.table import Row, decide_options

__all__ = ["BreakEven", "Option", "Row", "api_options", "apis_of_options", "decide_options", "find_break_evens", "kind_of"]
