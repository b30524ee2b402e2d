"""``Shown``: what ready servers show together at one moment, as their engines' metrics would say it."""

from __future__ import annotations

from collections.abc import Sequence

from sim.fleet.server import Server


class Shown:
    """Sums over servers; tokens and blocks are counts."""

    __slots__ = (
        "adapters", "has_features", "has_tiers", "pinned_blocks", "running", "servers", "tokens", "usable_blocks",
        "used_blocks", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.servers = 0
        self.waiting = 0
        self.running = 0
        self.tokens = 0
        """Of contexts, and of prompts that were never scheduled."""
        self.used_blocks = 0
        self.usable_blocks = 0
        self.pinned_blocks = 0
        """They wait for another server to read them."""
        self.has_features = False
        """Some engine speculates or has LoRA slots."""
        self.has_tiers = False
        """Some engine has host memory for KV."""
        self.adapters = 0
        """Distinct LoRA adapters that run, of each server."""


def shown_by(servers: Sequence[Server]) -> Shown:
    """What those of ``servers`` that are ready show now."""
    shown = Shown()
    for server in servers:
        if server.state != "ready":
            continue
        view = server.replica.view()
        shown.servers += 1
        shown.waiting += view.waiting
        shown.running += view.running
        shown.tokens += view.context_tokens + view.waiting_tokens
        shown.used_blocks += view.used_blocks
        shown.usable_blocks += view.usable_blocks
        shown.pinned_blocks += server.pinned_blocks()
        if server.offload is not None:
            shown.has_tiers = True
        if server.has_features:
            shown.has_features = True
            shown.adapters += len(view.adapters)
    return shown
