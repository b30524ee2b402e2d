"""Where words go in a picture so that they do not stand on each other.

Sizes are those of the largest letters that the style sheet gives them (phone and print), so that what fits here fits there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

LETTER, ABOVE, BELOW = 7.9, 13.0, 5.0
"""Mean width of a letter, and how far letters reach above and below their line, in units of the picture."""
_STARTS = {"start": 0.0, "middle": 0.5, "end": 1.0}


class Spot(NamedTuple):
    """Where words stand: base line and anchor, as SVG takes them."""

    x: float
    y: float
    anchor: str = "start"


class Box(NamedTuple):
    """A rectangle, ``top`` above ``bottom`` (y grows downwards)."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def box_of(spot: Spot, words: str) -> Box:
    """What ``words`` cover at ``spot``."""
    width = LETTER * len(words)
    left = spot.x - _STARTS[spot.anchor] * width
    return Box(left, spot.y - ABOVE, left + width, spot.y + BELOW)


class Places:
    """The words that stand ``within`` a frame; each is put where none stands yet."""

    def __init__(self, within: Box) -> None:
        self._within = within
        self._words: list[Box] = []
        self._points: list[Box] = []

    def point(self, x: float, y: float, radius: float = 5.0) -> None:
        """A point that words had better not cover."""
        self._points.append(Box(x - radius, y - radius, x + radius, y + radius))

    def put(self, words: str, spots: Iterable[Spot], *, must: bool = True) -> Spot | None:
        """The first of ``spots`` that is free, moved sideways into the frame; else one that covers points alone; else any
        free line of the frame, where the words ``must`` stand, and none where they need not."""
        tried = [inside for spot in spots if (inside := self._inside(spot, words)) is not None]
        free = [spot for spot in tried if not self._meets(spot, words, self._words)]
        chosen = next((spot for spot in free if not self._meets(spot, words, self._points)), None)
        chosen = chosen or (free[0] if free else None)
        if chosen is None and must:
            chosen = self._any_line(words)
        if chosen is not None:
            self._words.append(box_of(chosen, words))
        return chosen

    def _any_line(self, words: str) -> Spot | None:
        y = self._within.top + ABOVE
        while y + BELOW <= self._within.bottom:
            for x, anchor in ((self._within.left, "start"), (self._within.right, "end")):
                if not self._meets(Spot(x, y, anchor), words, self._words):
                    return Spot(x, y, anchor)
            y += ABOVE + BELOW
        return None

    def _inside(self, spot: Spot, words: str) -> Spot | None:
        """``spot`` moved sideways until its words are within the frame; None where they are too high, low or long."""
        box, frame = box_of(spot, words), self._within
        if box.top < frame.top - 0.5 or box.bottom > frame.bottom + 0.5 or box.right - box.left > frame.right - frame.left:
            return None
        aside = max(frame.left - box.left, 0.0) - max(box.right - frame.right, 0.0)
        return spot._replace(x=spot.x + aside)

    @staticmethod
    def _meets(spot: Spot, words: str, others: list[Box]) -> bool:
        box = box_of(spot, words)
        return any(box.meets(other) for other in others)
