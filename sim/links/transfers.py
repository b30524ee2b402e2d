"""``Transfers``: bytes on their way over links whose bandwidth they share max-min fairly (``sim.links.fair``).

There is no clock here. The caller says what ``now`` is, asks when the next transfer ends (``next_end``), and comes back then
(``take_finished``). Rates change only where a transfer starts or ends, so what remains is linear in between:

    remaining(now) = remaining(since) - rate x (now - since),   end = since + remaining(since) / rate

A transfer may begin later than it is started (``begins_s``: it is set up meanwhile): until then it takes nothing of its
links. Its last ``held_bytes`` may not be there before ``held_until_s`` (they are being computed): until then the others
travel, at most at its limit, and from then on all that is left, without one. Alone, its end is known at once; beside others
the rates change when it begins, when it has to wait and when it goes on, and the caller is to come back then.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from sim.links.fair import max_min


class Link:
    """A thing that carries bytes: a NIC, a PCIe or NVLink port, a disk. ``bytes_per_s`` is of one direction."""

    def __init__(self, name: str, bytes_per_s: float) -> None:
        if not bytes_per_s > 0.0:
            raise ValueError(f"`bytes_per_s > 0` must hold, but got {bytes_per_s!r} for {name!r}")
        self.name = name
        self.bytes_per_s = bytes_per_s
        self.carried_bytes = 0.0
        """Of transfers that are over, and of the others as far as they were looked at."""


class Transfer:
    """``size_bytes`` over all of ``path`` at once (cut through, not stored between), at most at ``limit_bytes_per_s``."""

    def __init__(
        self, size_bytes: float, path: Sequence[Link], limit_bytes_per_s: float, owner: Any, begins_s: float,
        held_bytes: float, held_until_s: float,
    ) -> None:  # fmt: skip
        self.size_bytes = size_bytes
        self.path = tuple(path)
        self.limit_bytes_per_s = limit_bytes_per_s
        self.owner = owner
        """Whatever the caller wants to find again."""
        self.begins_s = begins_s
        self.held_bytes = held_bytes
        self.held_until_s = held_until_s
        self.remaining_bytes = size_bytes
        self.bytes_per_s = 0.0
        self.later_bytes_per_s = 0.0
        """From ``held_until_s`` on, where it is alone."""
        self.end_s = inf
        """When it will be over if nothing changes; inf also before it has begun, or while something of it is held, beside
        others."""
        self.next_s = inf
        """When it will be over, or something else changes for it."""

    def waits(self, now_s: float) -> bool:
        """Whether it takes nothing of its links: it has not begun, or what is left of it is held."""
        if self.begins_s > now_s:
            return True
        return self.held_until_s > now_s and self.remaining_bytes <= self.held_bytes


class Transfers:
    """Those under way, in order of their start."""

    def __init__(self) -> None:
        self.under_way: list[Transfer] = []
        self._since_s = 0.0

    def start(
        self,
        now_s: float,
        size_bytes: float,
        path: Sequence[Link],
        limit_bytes_per_s: float = inf,
        owner: Any = None,
        begins_s: float = 0.0,
        held_bytes: float = 0.0,
        held_until_s: float = 0.0,
    ) -> Transfer:
        """A transfer is started, and begins now or at ``begins_s``; one of 0 bytes ends when it begins.

        Raises:
            ValueError: negative or endless size, or neither a link nor a limit, or a limit alone where something is held.
        """
        if not 0.0 <= size_bytes < inf:
            raise ValueError(f"`0 <= size_bytes < inf` must hold, but got {size_bytes!r}")
        if not path and (limit_bytes_per_s == inf or held_bytes):
            raise ValueError("a transfer needs a link or a limit")
        self._advance(now_s)
        begins_s = max(begins_s, now_s)
        transfer = Transfer(size_bytes, path, limit_bytes_per_s, owner, begins_s, held_bytes, held_until_s)
        self.under_way.append(transfer)
        self._share(now_s)
        return transfer

    def cancel(self, now_s: float, transfer: Transfer) -> None:
        """``transfer`` goes no further; nothing happens if it is over."""
        if transfer not in self.under_way:
            return
        self._advance(now_s)
        self.under_way.remove(transfer)
        transfer.bytes_per_s, transfer.end_s, transfer.next_s = 0.0, inf, inf
        self._share(now_s)

    def next_end_s(self) -> float:
        """When the next of them is over, or rates change otherwise; inf if nothing is under way."""
        next_s = inf
        for transfer in self.under_way:
            next_s = min(next_s, transfer.next_s)
        return next_s

    def take_finished(self, now_s: float) -> list[Transfer]:
        """Those that are over by now, in order of their start; the others share what they leave, with those that begin."""
        if self.next_end_s() > now_s:
            return []
        self._advance(now_s)
        if len(self.under_way) == 1 and self.under_way[0].end_s <= now_s:
            finished, self.under_way = self.under_way, []
        else:
            finished = [transfer for transfer in self.under_way if transfer.end_s <= now_s]
            self.under_way = [transfer for transfer in self.under_way if transfer.end_s > now_s]
        for transfer in finished:
            _carry(transfer, transfer.remaining_bytes)
            transfer.bytes_per_s = 0.0
        for transfer in self.under_way:
            if transfer.next_s <= now_s < transfer.held_until_s and transfer.bytes_per_s:
                transfer.held_bytes = transfer.remaining_bytes  # the rest of those before them was rounding
        self._share(now_s)
        return finished

    def _advance(self, now_s: float) -> None:
        """Bring what remains up to date."""
        if now_s < self._since_s:
            raise ValueError(f"time runs back: {now_s!r} after {self._since_s!r}")
        for transfer in self.under_way:
            since_s = max(self._since_s, transfer.begins_s)
            if now_s > since_s and transfer.held_until_s > since_s:
                free_bytes = max(transfer.remaining_bytes - transfer.held_bytes, 0.0)
                _carry(transfer, min(transfer.bytes_per_s * (min(now_s, transfer.held_until_s) - since_s), free_bytes))
                if now_s > transfer.held_until_s:
                    later_bytes = transfer.later_bytes_per_s * (now_s - transfer.held_until_s)
                    _carry(transfer, min(later_bytes, transfer.remaining_bytes))
                    transfer.bytes_per_s = transfer.later_bytes_per_s
            elif now_s > since_s:
                _carry(transfer, min(transfer.bytes_per_s * (now_s - since_s), transfer.remaining_bytes))
        self._since_s = now_s

    def _share(self, now_s: float) -> None:
        """New rates, and with them new ends."""
        if not self.under_way:
            return
        if len(self.under_way) == 1:
            _let_run_alone(self.under_way[0], now_s)
            return
        links: dict[Link, int] = {}
        flowing = []
        for transfer in self.under_way:
            if transfer.waits(now_s):
                transfer.bytes_per_s, transfer.end_s = 0.0, inf
                transfer.next_s = transfer.begins_s if transfer.begins_s > now_s else transfer.held_until_s
                continue
            flowing.append(transfer)
            for link in transfer.path:
                links.setdefault(link, len(links))
        paths = [[links[link] for link in transfer.path] for transfer in flowing]
        limits = [_limit_of(transfer, now_s) for transfer in flowing]
        shares = max_min([link.bytes_per_s for link in links], paths, limits)
        for transfer, share in zip(flowing, shares, strict=True):
            _let_run(transfer, now_s, share)
            if transfer.held_until_s > now_s:
                free_bytes = transfer.remaining_bytes - transfer.held_bytes
                transfer.end_s, transfer.next_s = inf, min(transfer.held_until_s, now_s + free_bytes / share)


def _limit_of(transfer: Transfer, now_s: float) -> float:
    """Its limit at ``now_s``: none where what was held is free."""
    return inf if transfer.held_bytes and transfer.held_until_s <= now_s else transfer.limit_bytes_per_s


def _let_run(transfer: Transfer, now_s: float, share: float) -> None:
    if share != transfer.bytes_per_s or transfer.end_s == inf:
        transfer.bytes_per_s = share
        transfer.end_s = transfer.next_s = max(now_s, transfer.begins_s) + transfer.remaining_bytes / share


def _let_run_alone(transfer: Transfer, now_s: float) -> None:
    rate = inf
    for link in transfer.path:
        rate = min(rate, link.bytes_per_s)
    limit = _limit_of(transfer, now_s)
    if transfer.held_until_s <= now_s:
        _let_run(transfer, now_s, min(rate, limit))
        return
    transfer.bytes_per_s, transfer.later_bytes_per_s = min(rate, limit), rate
    early_bytes = transfer.bytes_per_s * (transfer.held_until_s - max(now_s, transfer.begins_s))
    early_bytes = max(min(early_bytes, transfer.remaining_bytes - transfer.held_bytes), 0.0)
    transfer.end_s = transfer.next_s = transfer.held_until_s + (transfer.remaining_bytes - early_bytes) / rate


def _carry(transfer: Transfer, carried_bytes: float) -> None:
    transfer.remaining_bytes -= carried_bytes
    for link in transfer.path:
        link.carried_bytes += carried_bytes
