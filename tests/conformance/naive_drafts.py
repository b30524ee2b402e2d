"""Speculation of the naive oracle: how many drafts, rows and tokens read ahead; what is accepted."""

from __future__ import annotations

from typing import Any


class NaiveDrafts:
    """``external``: KV comes from elsewhere, too."""

    def __init__(self, options: dict[str, Any], external: bool) -> None:
        spec = options.get("speculative") or {}
        method, parallel = spec.get("method"), spec.get("parallel_drafting", False)
        self.k = self.next = spec.get("num_speculative_tokens", 0)
        self.dynamic = spec.get("num_speculative_tokens_per_batch_size")
        self.lookahead = 0 if method in (None, "ngram") else self.k
        self.rows = self.ahead = 0
        if self.k and method in ("eagle", "eagle3", "mtp"):
            modules = min(spec.get("num_nextn_predict_layers", 1), self.k) if method == "mtp" else 1
            self.ahead = self.k if modules > 1 else 1
            self.rows = self.k - 1 if parallel else 0
        if self.k and method == "draft_model":
            self.rows = self.k if parallel else 1
        keys = options["enable_prefix_caching"] and not spec.get("disable_lookahead_block_hashes") and not external
        self.covered = self.ahead if keys else 0

    def few(self, r: Any, before: int, n: int) -> int:
        """``n`` tokens behind ``before``, so that the rest of the prompt is enough for the drafting layers."""
        rest = len(r.tokens) - before - n
        return max(0, n - (self.ahead - rest)) if 0 < rest < self.ahead else n

    def pads(self, n: int, base: int, chunk_ran: bool, served: bool, longest: int) -> bool:
        if not self.k or self.dynamic or n != 1 or chunk_ran or not (served or base > 0):
            return False
        return base + self.k + 2 <= longest

    def settle(self, scheduled: int) -> None:
        """How many drafts follow a step of so many requests."""
        if scheduled and self.dynamic:
            self.next = 0
            for first, _, k in self.dynamic:
                self.next = k if first <= scheduled else self.next
            self.next = min(self.next, self.k)

    def accepted(self, r: Any, drafts: int) -> int:
        accept = r.row.get("accept", [0])
        r.n_verified += 1
        return min(accept[(r.n_verified - 1) % len(accept)], drafts)

    def proposed(self, r: Any, k: int) -> int:
        lengths = r.row.get("draft_len")
        r.n_proposed += 1
        return min(lengths[(r.n_proposed - 1) % len(lengths)], k) if lengths else k
