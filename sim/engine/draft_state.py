"""``DraftState``: what speculation keeps of one request."""

from __future__ import annotations

from sim.engine.acceptance import AcceptancePath


class DraftState:
    """Drafts, blocks and tokens of one request."""

    __slots__ = (
        "accepted", "attached", "blocks", "drafted", "given", "in_flight", "over", "path", "proposed", "taken", "verified",
    )  # fmt: skip

    def __init__(self, path: AcceptancePath) -> None:
        self.path = path
        self.attached = 0
        """Drafts that wait to be verified."""
        self.blocks = 0
        """KV blocks that it holds."""
        self.given = 0
        """Tokens of the step that is being composed, and blocks taken for it."""
        self.taken = 0
        self.in_flight = 0
        """Scheduled in steps that have not returned."""
        self.verified = 0
        """Verifications so far, and proposals."""
        self.proposed = 0
        self.drafted = 0
        """Drafts verified so far, and accepted."""
        self.accepted = 0
        self.over = False
        """It has its last token."""
