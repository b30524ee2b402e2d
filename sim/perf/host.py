"""What the CPU adds to a step: composing it, preparing its input, launching its kernels, handling its output.

    prepare = per_step + per_seq x sequences
    launch  = 0 where the whole step is one CUDA graph (a decode-only step up to the largest captured batch); else
              ``pieces`` (captured pieces, attention between them) or ``kernels`` (beyond the largest graph, or eager),
              each so much a layer

    synchronous    step = overlap(GPU, launch) + prepare
    asynchronous   step = max(GPU + gap, prepare)                 one graph, and pieces beside decodes: their launching
                                                                  hides behind the decode step before
                   step = overlap(GPU + gap, prepare + launch)    beyond the largest graph: launches take longer than a
                                                                  decode step
                   step = overlap(GPU + gap, prepare + launch) + refill     without decodes the pipeline was empty

``overlap(a, b) = (a^p + b^p)^(1/p)``: two processes whose pace varies wait for each other now and then. A step with
prefill adds ``between_pieces`` to the GPU's time, a layer and a sequence: attention starts outside the graphs, on metadata
made for that step.

The constants are global (no GPU, model or case of their own) and fitted by ``experiments/step_time_fit/fit_host.py`` on
measured servers; ``gpu.step_time_scale["host"]`` multiplies them. A step knows its own composition only: what the step
before leaves to hide behind is the mean of what was measured.

Leaves out: CPU contention between replicas of one machine, tokeniser threads (``sim.perf.front_end``), garbage
collection, the first steps of a new shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from sim.perf.step_time import DecodeLine

OVERLAP = 3.5
"""Fitted to prefill steps from idle and isolated mixed steps of vLLM 0.26 on an H100: 128 to 2,048 tokens."""


@dataclass(frozen=True)
class HostOverhead:
    """Seconds of one engine's CPU work; ``hidden`` = asynchronous scheduling."""

    per_step_s: float = 0.0
    per_seq_s: float = 0.0
    between_pieces_s: float = 0.0
    """Added to the GPU's time of a step with prefill."""
    between_pieces_per_seq_s: float = 0.0
    pieces_s: float = 0.0
    """To launch a step with prefill up to the largest graph."""
    kernels_s: float = 0.0
    """To launch a step beyond it."""
    refill_s: float = 0.0
    """Added to an asynchronous step that found the pipeline empty."""
    gap_s: float = 0.0
    """Added to every asynchronous step: what cannot be hidden."""
    gap_per_seq_s: float = 0.0
    captured_tokens: int = 0
    """Largest batch that has a graph; 0 = eager."""
    captured_prefill_tokens: int = 0
    """Largest batch with prefill whose pieces are captured."""
    hidden: bool = False

    def mixed_step(self, gpu_s: float, tokens: int, seqs: int, *, pipeline_empty: bool) -> float:
        """Seconds of a step with prefill, ``tokens`` new ones of ``seqs``; ``pipeline_empty``: nothing decodes in it."""
        captured = tokens <= self.captured_prefill_tokens
        launch = self.pieces_s if captured else self.kernels_s
        prepare = self.per_step_s + self.per_seq_s * seqs
        gpu_s += self.between_pieces_s + self.between_pieces_per_seq_s * seqs
        if not self.hidden:
            return overlap(gpu_s, launch) + prepare
        gpu_s += self.gap_s + self.gap_per_seq_s * seqs
        if pipeline_empty:
            return overlap(gpu_s, prepare + launch) + self.refill_s
        if captured:
            return max(gpu_s, prepare)
        return overlap(gpu_s, prepare + launch)

    def uniform_step(self, gpu_s: float, tokens: int, seqs: int) -> float:
        """Seconds of a step without prefill, ``tokens`` new ones of ``seqs``: a full graph as far as one is captured."""
        launch = 0.0 if tokens <= self.captured_tokens else self.kernels_s
        prepare = self.per_step_s + self.per_seq_s * seqs
        if self.hidden:
            return max(gpu_s + self.gap_s + self.gap_per_seq_s * seqs, prepare + launch)
        return max(gpu_s, launch) + prepare

    def decode_lines(
        self, breaks: list[float], lines: list[DecodeLine], base_s: float, seqs: int
    ) -> tuple[list[float], list[DecodeLine]]:
        """Pieces of a decode-only step of ``seqs``: attention ``lines`` + ``base_s`` on the GPU + the host's part."""
        launch = 0.0 if seqs <= self.captured_tokens else self.kernels_s
        prepare = self.per_step_s + self.per_seq_s * seqs
        if self.hidden:
            return _at_least(prepare + launch, lines, base_s + self.gap_s + self.gap_per_seq_s * seqs)
        breaks, lines = _at_least(launch, lines, base_s)
        return breaks, [DecodeLine(line.intercept + prepare, line.slope, line.last_context) for line in lines]


def overlap(gpu_s: float, host_s: float) -> float:
    """Seconds until both are done where neither keeps an even pace; at least the longer."""
    longer = max(gpu_s, host_s)
    if longer <= 0.0:
        return 0.0
    return float(longer * (1.0 + (min(gpu_s, host_s) / longer) ** OVERLAP) ** (1.0 / OVERLAP))


def _at_least(host_s: float, lines: list[DecodeLine], base_s: float) -> tuple[list[float], list[DecodeLine]]:
    """Pieces of ``max(line + base_s, host_s)``."""
    out: list[DecodeLine] = []
    start = 0.0
    for line in lines:
        intercept, slope, end = line.intercept + base_s, line.slope, line.last_context
        crossing = (host_s - intercept) / slope if slope > 0 else (inf if intercept < host_s else -inf)
        if crossing >= end:
            out.append(DecodeLine(host_s, 0.0, end))
        else:
            if crossing > start:
                out.append(DecodeLine(host_s, 0.0, crossing))
            out.append(DecodeLine(intercept, slope, end))
        start = end
    return [line.last_context for line in out[:-1]], out
