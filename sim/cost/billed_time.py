"""GPU-seconds of many replicas that come and go: what is paid for whole instances, and what a commitment covers."""

from __future__ import annotations

import math

import numpy as np

from sim.cost.bill import instances_needed


def paid_gpu_seconds(start_s: np.ndarray, stop_s: np.ndarray, gpus_per_replica: int, instance_gpus: int) -> float:
    """GPU-seconds paid for by replicas billed from ``start_s`` to ``stop_s`` (one entry a replica) that share
    instances: the integral over time of whole instances times ``instance_gpus``."""
    alive = stop_s > start_s
    times = np.concatenate([start_s[alive], stop_s[alive]])
    deltas = np.concatenate([np.ones(int(alive.sum()), dtype=int), -np.ones(int(alive.sum()), dtype=int)])
    order = np.argsort(times, kind="stable")
    running = np.cumsum(deltas[order])[:-1]
    spans = np.diff(times[order])
    terms = [
        float(span) * instances_needed(int(n), gpus_per_replica, instance_gpus) * instance_gpus
        for span, n in zip(spans, running, strict=True)
        if span > 0
    ]
    return math.fsum(terms)


def covered_gpu_seconds(start_s: np.ndarray, stop_s: np.ndarray, gpus: np.ndarray, committed: int) -> float:
    """GPU-seconds of replicas billed from ``start_s`` to ``stop_s`` (one entry a replica of ``gpus``) that ``committed``
    GPUs cover: the integral over time of the lesser of the two."""
    times = np.concatenate([start_s, stop_s])
    deltas = np.concatenate([gpus, -gpus])
    order = np.argsort(times, kind="stable")
    running = np.cumsum(deltas[order])[:-1]
    return math.fsum(np.diff(times[order]) * np.minimum(running, float(committed)))
