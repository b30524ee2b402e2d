"""What the CPU adds to a step: scheduling, input preparation, kernel launches, output handling.

    host = per_step + per_seq x sequences
    synchronous:   step = GPU + host
    asynchronous:  step = max(GPU + gap + gap_per_seq x sequences, host)     the next step is prepared meanwhile

Steps with prefill leave the full CUDA graph: every layer's attention is launched by the CPU, ``per_layer x layers``
added to the GPU time. The constants are global (no GPU, model or case of their own) and fitted by
``experiments/step_time_fit/fit_host.py`` on measured servers; ``gpu.step_time_scale["host"]`` multiplies them.

Leaves out: CPU contention between replicas of one machine, tokeniser threads (``sim.perf.front_end``), garbage
collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from sim.perf.step_time import DecodeLine


@dataclass(frozen=True)
class HostOverhead:
    """Seconds of one engine's CPU work; ``hidden`` = asynchronous scheduling."""

    per_step_s: float = 0.0
    per_seq_s: float = 0.0
    mixed_step_s: float = 0.0
    """Added to the GPU's time whenever a step has prefill: launches outside the full graph."""
    gap_s: float = 0.0
    """Added to every asynchronous step: what cannot be hidden."""
    gap_per_seq_s: float = 0.0
    hidden: bool = False

    def mixed_step(self, gpu_s: float, seqs: int) -> float:
        """Seconds of a step with prefill chunks."""
        gpu_s += self.mixed_step_s
        host = self.per_step_s + self.per_seq_s * seqs
        if self.hidden:
            return max(gpu_s + self.gap_s + self.gap_per_seq_s * seqs, host)
        return gpu_s + host

    def decode_lines(
        self, breaks: list[float], lines: list[DecodeLine], base_s: float, seqs: int
    ) -> tuple[list[float], list[DecodeLine]]:
        """Pieces of a decode-only step of ``seqs``: attention ``lines`` + ``base_s`` on the GPU + the host's part."""
        host = self.per_step_s + self.per_seq_s * seqs
        if not self.hidden:
            return breaks, [DecodeLine(line.intercept + base_s + host, line.slope, line.last_context) for line in lines]
        base_s += self.gap_s + self.gap_per_seq_s * seqs
        out: list[DecodeLine] = []
        start = 0.0
        for line in lines:
            intercept, slope, end = line.intercept + base_s, line.slope, line.last_context
            crossing = (host - intercept) / slope if slope > 0 else (inf if intercept < host else -inf)
            if crossing >= end:
                out.append(DecodeLine(host, 0.0, end))
            else:
                if crossing > start:
                    out.append(DecodeLine(host, 0.0, crossing))
                out.append(DecodeLine(intercept, slope, end))
            start = end
        return [line.last_context for line in out[:-1]], out
