"""Searches: pure functions of an ``evaluate`` that answer sizing questions with few simulations."""

from sim.search.caps import DEFAULT_CAPS, feasible_caps, refined_caps
from sim.search.certain_miss import CertainMiss
from sim.search.evaluator import ScenarioEvaluator, with_point
from sim.search.load import highest_load
from sim.search.point import Evaluate, Point, Solution, nearest_miss
from sim.search.replicas import fewest_replicas
from sim.search.solve import Answer, Solve, gpu_usd_per_hour, prefill_and_decode, replica_usd_per_hour, solve
from sim.search.walk import CapWalk, Trial, cap_walk, trial_of

__all__ = [
    "DEFAULT_CAPS", "Answer", "CapWalk", "CertainMiss", "Evaluate", "Point", "ScenarioEvaluator", "Solution", "Solve",
    "Trial", "cap_walk", "feasible_caps", "fewest_replicas", "gpu_usd_per_hour", "highest_load", "nearest_miss",
    "prefill_and_decode", "refined_caps", "replica_usd_per_hour", "solve", "trial_of", "with_point",
]  # fmt: skip
