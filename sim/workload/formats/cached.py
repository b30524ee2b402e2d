"""Prompt tokens that the logging server, or a provider, had in its cache: counted, so that a reader knows what it means.

A log says how many of a prompt's tokens were found, not which text they share with which other prompt, so a replay starts
without them: only sessions, prefixes or hashes make the simulated cache find anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim.workload.formats.records import as_number
from sim.workload.rows import Reading


@dataclass
class CachedTokens:
    """What was found in a cache so far."""

    found: float = 0.0
    of: float = 0.0
    beside: int = 0
    """Prompts shorter than what of them was cached: the log counts the two beside each other."""
    within: int = 0
    """Prompts at least as long as what of them was cached."""

    def prompt(self, tokens: Any, cached: Any) -> Any:
        """The prompt's tokens, with those from the cache where the log counts them beside it (as Anthropic's API does)."""
        whole, hit = as_number(tokens), as_number(cached)
        if not hit > 0 or not whole >= 0 or hit > 1e9:
            self.of += max(whole, 0.0) if whole >= 0 else 0.0
            return tokens
        if hit > whole:
            whole += hit
            self.beside += 1
        else:
            self.within += 1
        self.found, self.of = self.found + hit, self.of + whole
        return whole

    def tell(self, reading: Reading) -> None:
        """Notes the share, where there is one."""
        if self.found:
            reading.notes.append(
                f"{100 * self.found / self.of:.3g} % of the prompt tokens came from a prefix cache where this was logged; "
                "the log does not say which prompts begin alike, so only its sessions make the simulated cache find any"
            )
        if self.beside and self.within:
            reading.notes.append(
                f"{self.beside} prompts are shorter than what of them was cached, so the two were added; in {self.within} "
                "the cached tokens were taken as a part of the prompt: where the log counts them beside it there too (as "
                "Anthropic's API does), those prompts are longer"
            )
