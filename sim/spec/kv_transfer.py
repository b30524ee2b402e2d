"""What carries KV blocks from one replica to another."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvTransferSpec:
    """A transfer of B bytes that has its links for itself takes

        setup_s + B / (nic_gb_per_s x NICs)

    with the NICs of the smaller of the two replicas. Defaults fit Mooncake's nine points of Qwen3-8B, one prefill and one
    decode replica of H800 with eight RoCE NICs of 25 GB/s line rate (mean error 3.0 %, experiments/disaggregation)."""

    setup_s: float = Field(default=0.000394, ge=0)
    """Per transfer: metadata, handshake and posting, s. 0.4 ms (8B) to 1.8 ms (235B) were measured; it grows with layers x
    blocks that are not contiguous."""
    nic_gb_per_s: float = Field(default=17.13, gt=0)
    """What one NIC carries in each direction, decimal GB/s; 17.1 (RoCE of 25 GB/s), 21.2 and 24.3 (400 Gb/s of 50) were
    measured; at most 3 in all over TCP is an assumption."""
    nics_per_gpu: float = Field(default=1.0, gt=0)
    """NICs for each GPU of a replica; one is a usual server's. A replica of one GPU that uses all eight of its node: 8."""
    source: str = ""
    """Where the numbers are from; for display."""
