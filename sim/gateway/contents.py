"""What prompts consist of: from a trace's labels to the segments that the prefix cache compares.

``prefix_id``: rows with the same id agree on their first min(``prefix_tokens``) tokens. ``prompt_id``: the whole prompt is
equal, and begins with its prefix where it has one. ``session_id``: turn k's prompt starts with turn k-1's prompt and answer,
as far as ``input_tokens`` reaches; a ``prefix_id`` then names the text before turn 1. ``block_hashes``: prefix-chained block
ids, the last maybe partial.

A block is named by its id, everything else by a tuple that says what it is.
"""

from __future__ import annotations

from sim.engine.request import Content
from sim.workload import Trace


class Contents:
    """Builds the content of each request when it arrives; None where a trace shares nothing."""

    def __init__(self, trace: Trace) -> None:
        labels = {name: column.tolist() for name, column in trace.labels.items()}
        self._hashes = labels.get("block_hashes")
        self._prompts = labels.get("prompt_id")
        self._prefixes = labels.get("prefix_id")
        self._prefix_tokens = labels.get("prefix_tokens")
        self._sessions = labels.get("session_id")
        self._block_tokens = trace.block_tokens
        self._last_turn: dict[str, tuple[Content, int, int]] = {}
        """Session -> content of its last prompt, its row, its answer's tokens."""
        self._whole: dict[str, list[tuple[object, int]]] = {}
        """Prompt -> the prefix that it begins with."""
        self.shared = any(c is not None for c in (self._hashes, self._prompts, self._prefixes, self._sessions))

    def of(self, row: int, input_tokens: int, output_tokens: int) -> Content | None:
        """The content of request ``row``; its answer will be the segment ``("out", row)``."""
        if not self.shared:
            return None
        if self._hashes is not None and self._hashes[row]:
            return self._chained(self._hashes[row], row, input_tokens)
        if self._prompts is not None and self._prompts[row]:
            return self._prompt(self._prompts[row], row, input_tokens)
        pieces: list[tuple[object, int]] = []
        session = self._sessions[row] if self._sessions is not None else ""
        if session and session in self._last_turn:
            before, last_row, answered = self._last_turn[session]
            pieces = [*before, (("out", last_row), answered)]
        else:
            pieces = self._prefix(row)
        content = _cut([*pieces, (("row", row), input_tokens)], input_tokens)
        if session:
            self._last_turn[session] = (content, row, output_tokens)
        return content

    def _prefix(self, row: int) -> list[tuple[object, int]]:
        """The shared beginning of request ``row``; none where it has none."""
        if self._prefixes is None or not self._prefixes[row] or self._prefix_tokens is None:
            return []
        return [(("prefix", self._prefixes[row]), max(self._prefix_tokens[row], 0))]

    def _prompt(self, prompt: str, row: int, input_tokens: int) -> Content:
        """Equal prompts have one prefix: that of the first of them."""
        pieces = self._whole.get(prompt)
        if pieces is None:
            pieces = self._whole[prompt] = self._prefix(row)
        return _cut([*pieces, (("prompt", prompt), input_tokens)], input_tokens)

    def _chained(self, hashes: tuple[int, ...], row: int, input_tokens: int) -> Content:
        size = self._block_tokens
        return _cut([*((h, size) for h in hashes), (("row", row), input_tokens)], input_tokens)


def _cut(pieces: list[tuple[object, int]], tokens: int) -> Content:
    """The first ``tokens`` tokens of ``pieces``."""
    content = []
    for name, length in pieces:
        if tokens <= 0:
            break
        content.append((name, min(length, tokens)))
        tokens -= length
    return tuple(content)
