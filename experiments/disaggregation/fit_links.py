"""Transfer times of KV caches, measured and fitted: ``python experiments/disaggregation/fit_links.py`` (seconds).

    t = setup + bytes / rate        least mean |error| relative to the measured time

Bytes are of all ranks, the rate of all NICs together. It prints each fit; ``configs/kv_transfer`` holds them.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

MEASURED_MB_MS: dict[str, tuple[str, tuple[tuple[float, float], ...]]] = {
    "mooncake_roce": (
        "Mooncake vllm-v1-pd-performance.md: Qwen3-8B, 1P1D, H800, 8 RoCE NICs (200 GB/s line)",
        (
            (20, 0.54), (38, 0.61), (74, 0.92), (146, 1.50), (290, 2.51), (578, 4.75), (1130, 8.84), (2250, 16.43),
            (4500, 31.65),
        ),
    ),
    "mooncake_400gbe": (
        "Mooncake sglang-benchmark-results-v1.md: Qwen3-235B-A22B, 1P1D, H20-3e, 4 x 400GbE a node (200 GB/s line)",
        (
            (49, 2.07), (99, 2.58), (197, 2.98), (394, 3.96), (789, 6.43), (1580, 10.95), (3150, 20.31), (6310, 39.14),
            (12620, 76.78),
        ),
    ),
}  # fmt: skip
"""Preset -> source and (MB, ms) of transfers, read 2026-11-23."""


class Fit(NamedTuple):
    """Set-up, s, rate, GB/s, and the errors of the fit relative to what was measured."""

    setup_s: float
    gb_per_s: float
    mean_error: float
    largest_error: float


def errors(setup_s: float, gb_per_s: float, points: tuple[tuple[float, float], ...]) -> np.ndarray:
    """|predicted / measured - 1| of every point."""
    mb, ms = np.array(points).T
    found: np.ndarray = np.abs((setup_s * 1e3 + mb / gb_per_s) / ms - 1)
    return found


def fit(points: tuple[tuple[float, float], ...]) -> Fit:
    """The line with the least mean error, from several starts (the objective has kinks)."""
    starts = [(setup, rate) for setup in (0.3, 0.4, 1.5, 2.0) for rate in (130.0, 150.0, 170.0)]
    options = {"xatol": 1e-6, "fatol": 1e-10, "maxiter": 10_000}
    found = [
        minimize(lambda x: errors(x[0] / 1e3, x[1], points).mean(), start, method="Nelder-Mead", options=options)
        for start in starts
    ]
    best = min(found, key=lambda one: float(one.fun)).x
    every = errors(best[0] / 1e3, best[1], points)
    return Fit(float(best[0]) / 1e3, float(best[1]), float(every.mean()), float(every.max()))


def main() -> None:
    for name, (source, points) in MEASURED_MB_MS.items():
        found = fit(points)
        sys.stdout.write(
            f"{name}: setup {found.setup_s * 1e3:.3f} ms, {found.gb_per_s:.1f} GB/s, mean error {100 * found.mean_error:.1f} %, "
            f"largest {100 * found.largest_error:.1f} %, {len(points)} points ({source})\n"
        )


if __name__ == "__main__":
    main()
