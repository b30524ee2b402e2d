"""Questions asked of a finished run: latency, SLO, cost tree, summary, laws, queueing theory. Pure functions."""

from sim.analysis.cost_tree import CostNode, month, per_month, price
from sim.analysis.latency import latency_table, measured_requests
from sim.analysis.request_costs import request_costs_usd, with_costs
from sim.analysis.slo import TargetCheck, check_slo, good_mask, missed_by, verdict
from sim.analysis.summary import summarize

__all__ = [
    "CostNode", "TargetCheck", "check_slo", "good_mask", "latency_table", "measured_requests", "missed_by", "month",
    "per_month", "price", "request_costs_usd", "summarize", "verdict", "with_costs",
]  # fmt: skip
