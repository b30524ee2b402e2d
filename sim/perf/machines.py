"""Machines: the GPUs that a link joins (``gpu.max_scaleup_gpus``), and what lies between them.

``NIC_LATENCY_S`` is an assumption (two network hops and a kernel start; 10-40 us are usual), likewise ``NIC_SHARE``, what
large messages reach of the card's rate.
"""

from __future__ import annotations

from sim.spec.gpu import GpuSpec

NIC_LATENCY_S = 2.0e-5
NIC_SHARE = 0.9


def machines(gpus: int, gpu: GpuSpec) -> int:
    """Machines that ``gpus`` GPUs stand on."""
    return -(-gpus // gpu.max_scaleup_gpus)


def link_bytes_per_s(gpus: int, gpu: GpuSpec) -> float:
    """Of one direction, what each of ``gpus`` GPUs of a machine has towards the others."""
    lanes = (gpus - 1) / (gpu.max_scaleup_gpus - 1) if gpu.link_mesh and gpu.max_scaleup_gpus > gpus > 1 else 1.0
    return gpu.link_gb_s_per_direction * 1e9 * lanes
