"""When an engine looks around: ``Loop`` has one next wake-up, ``Pace`` is the loop of several engines that do not wake
themselves (the replica's named point for it)."""

from __future__ import annotations

from sim.engine.clock import Moment


class Loop:
    """What wakes up again and again. ``plan`` is the version of the next wake-up; older ones on the clock are void."""

    def __init__(self) -> None:
        self.plan = 0

    def wake(self) -> None:
        """The planned wake-up."""
        raise NotImplementedError

    def compose(self) -> None:
        """Decide what comes next, behind everything else of this moment."""
        raise NotImplementedError

    def look(self) -> None:
        """See whether something comes before the planned wake-up."""
        raise NotImplementedError


class Pace(Loop):
    """The loop of several engines, told when one of them has news."""

    def news(self) -> None:
        """Something has come that an engine's scheduler would see."""
        raise NotImplementedError


class WakeUp(Moment):
    """A loop's next wake-up, void when its plan has changed."""

    __slots__ = ("loop", "plan")

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        self.plan = loop.plan

    def happen(self) -> None:
        """See ``Moment``."""
        if self.plan == self.loop.plan:
            self.loop.wake()


class Composing(WakeUp):
    """The same, behind everything else that happens at that moment."""

    __slots__ = ()

    def happen(self) -> None:
        """See ``Moment``."""
        if self.plan == self.loop.plan:
            self.loop.compose()


class Look(Moment):
    """A loop's look at what has come before its next wake-up, which stands."""

    __slots__ = ("loop",)

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop

    def happen(self) -> None:
        """See ``Moment``."""
        self.loop.look()
