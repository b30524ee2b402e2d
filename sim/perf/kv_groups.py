"""``CacheGroup``: layers of a model with one block table in the KV cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["full", "sliding", "chunk", "state"]


@dataclass(frozen=True)
class CacheGroup:
    """Layers with one block table."""

    kind: Kind
    layers: int
    """Padding included: every group of a model has equally many."""
    block_size: int
    """Tokens a block; of a state: the whole sequence."""
    window: int = 0
    pages: int = 1
    """Of a state: blocks that a sequence holds."""

    def blocks(self, tokens: int, in_flight_tokens: int) -> int:
        """Blocks that a request of ``tokens`` holds at the most."""
        if self.kind == "state":
            return self.pages
        if self.kind == "full":
            return -(-tokens // self.block_size)
        kept = self.window - (1 if self.kind == "sliding" else 0) + in_flight_tokens
        return -(-min(kept, tokens) // self.block_size) + (1 if self.kind == "sliding" else 0)
