"""Step time of ranks that step together and speculate (``sim.perf.rank_step`` with ``sim.perf.speculation``).

    round  = target + drafts
    target = largest attention of a rank + N(tokens of the fullest rank) + E(tokens of all ranks) + A(both)
             + head and sampler of the rank with most rows
    drafts = K passes: largest attention in the drafting layers + their N, and their own E and A where they are a mixture

A verification brings 1 + d tokens a request to every one of these: padding, experts and all-to-all carry its rows. In the
experts the rows of one request choose partly the same ones (``ROW_SPREAD``, over the tokens of all ranks). The drafts step
together, too: a rank with nothing to do drafts one token. A round runs as a full graph where no rank has a prompt and each
verification has all its drafts. Source: vLLM 0.33, ``v1/worker/dp_utils.py``, ``v1/spec_decode/eagle.py``; not recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sim.perf.rank_step import AffineRankStepTime, RankLoad, RankStepTime
from sim.perf.speculation import ROW_SPREAD, Proposing, Rows, decoding_s, verified_s
from sim.perf.step_time import Verified
from sim.perf.tabulated import TabulatedStepTime

Carried = tuple[Sequence[tuple[int, int]], Verified | None]
"""What a rank has in a round: chunks of prompts, ``(tokens, computed before)``, and verifications."""

NOTHING: Final[Carried] = ((), None)
"""A dummy forward: one token of nobody."""


class RankVerification:
    """Times of rounds, seconds.

    Args:
        target: of the ranks without speculation.
        rows: of a verification's rows, the experts' apart.
        proposing: of the drafts.
        draft: of the drafting layers on the same ranks, without a host: with experts of their own, or without; None = no
            layers draft.
    """

    def __init__(
        self, target: RankStepTime, rows: Rows, proposing: Proposing, draft: RankStepTime | TabulatedStepTime | None
    ) -> None:
        self.target = target
        self._rows = rows
        self._proposing = proposing
        self._draft = draft
        self.drafting_s = 0.0
        """A rank's share of the time that the drafts of all rounds so far took."""

    def verifying_s(self, carried: Sequence[Carried]) -> float:
        """Time of a round in which the ranks have what ``carried`` says."""
        target, rows = self.target, self._rows
        most = everybody = of_requests = seqs = most_rows = 0
        least = 1 << 60
        attention = sampled = spread = 0.0
        prompts, uniform = False, True
        for chunks, verified in carried:
            tokens, own = 0, 0.0
            for new, before in chunks:
                tokens += new
                own = target.own.with_chunk(own, new, before)
            requests = len(chunks)
            if verified is not None:
                tokens += verified.rows
                requests += verified.requests
                own += verified_s(target.own, rows, verified)
                uniform = uniform and verified.uniform
                most_rows = max(most_rows, verified.rows)
                sampled = max(sampled, rows.sampler_s * (verified.rows - verified.requests))
                spread += verified.rows - verified.requests * float((verified.rows / verified.requests) ** ROW_SPREAD)
            prompts = prompts or len(chunks) > 0
            of_requests += tokens
            tokens = max(tokens, 1)
            attention = max(attention, own)
            most, least, everybody, seqs = max(most, tokens), min(least, tokens), everybody + tokens, max(seqs, requests)
        different = 1.0 - spread / of_requests if of_requests else 1.0  # of what fills up a rank, too
        load = RankLoad(most, least, everybody, seqs, prompts, different)
        computed, beside = target.parts_s(load)
        seconds = max(attention + computed, beside) + max(0.0, rows.head_s * most_rows - rows.head_read_s) + sampled
        drafting = self._drafting(carried, load)
        self.drafting_s += drafting / target.ranks
        seconds += drafting
        if prompts or not uniform:
            return target.host.mixed_step(seconds, most, seqs, pipeline_empty=False)
        return target.host.uniform_step(seconds, most, seqs)

    def verification(self, prefills: Sequence[tuple[int, int]], verified: Verified | None) -> float:
        """See ``VerificationTime``: of ranks that all carry the same."""
        return self.verifying_s([(prefills, verified)] * self.target.ranks)

    def _drafting(self, carried: Sequence[Carried], load: RankLoad) -> float:
        """All passes of the drafts after a round of ``load``."""
        draft, proposing = self._draft, self._proposing
        if draft is None or not proposing.passes:
            return 0.0
        own = draft.own if isinstance(draft, RankStepTime) else draft
        first = others = 0.0
        everybody = 0
        for chunks, verified in carried:
            requests = context = 0
            if verified is not None:
                requests, context = verified.requests, verified.context
            reading = seconds = decoding_s(own, requests, context)
            for new, before in chunks:
                seconds = own.with_chunk(seconds, new, before)
            first, others = max(first, seconds), max(others, reading)
            everybody += max(1, requests + len(chunks))
        seqs = max(1, load.most_seqs)
        each = proposing.beside_s + proposing.gap_s
        behind = _pass_s(draft, others, RankLoad(seqs, 1, everybody, seqs, False)) if proposing.passes > 1 else 0.0
        return _pass_s(draft, first, load) + (proposing.passes - 1) * behind + proposing.passes * each


class RankTimes(NamedTuple):
    """How long the rounds of a group of ranks take."""

    step: RankStepTime | AffineRankStepTime
    verification: RankVerification | AffineRankStepTime | None = None
    """Of ranks that speculate."""


def _pass_s(draft: RankStepTime | TabulatedStepTime, attention_s: float, load: RankLoad) -> float:
    """One pass of the drafting layers over ``load``."""
    if isinstance(draft, RankStepTime):
        computed, beside = draft.parts_s(load)
        return max(attention_s + computed, beside)
    return attention_s + draft.nonattention(load.most_tokens)
