"""Machines: what clouds sell. Replicas that fit share one, its storage and its page cache.

A machine has the GPUs that are sold together (``gpu.price.instance_gpus``), or as many whole units as one replica needs; a
replica larger than the GPUs that a link joins (``gpu.max_scaleup_gpus``) stands on several nodes, each with storage of its
own. Its storage is a link of ``sim.links``: loads of several replicas at once share it. What was read once is in the page
cache (the host's memory is taken to hold it), until the machine is handed back.
"""

from __future__ import annotations

import math
from bisect import insort
from typing import Literal

import simpy

from sim.engine.clock import Clock
from sim.links.transfers import Link
from sim.spec import GpuSpec, Market
from sim.units import GIB


class Machine:
    """One machine, or the machines of one large replica."""

    __slots__ = ("gpus", "held_gpus", "known", "market", "number", "pulled", "state", "storage", "up", "zone")

    def __init__(self, number: int, market: Market, zone: str, gpus: int, storage: Link, clock: Clock) -> None:
        self.number = number
        self.market = market
        self.zone = zone
        self.gpus = gpus
        self.held_gpus = 0
        """By replicas, and by those that broke them."""
        self.state: Literal["asked for", "coming", "up", "leaving"] = "asked for"
        """A leaving one takes no more replicas."""
        self.storage = storage
        self.up: simpy.Event = clock.event()
        """Comes when it runs."""
        self.pulled: simpy.Event = clock.event()
        """Comes when it has the image."""
        self.known: set[str] = set()
        """Weights that were read from its storage, and engines that ran on it."""


class Machines:
    """The machines of one pool that have, or will have, a free GPU."""

    def __init__(self, clock: Clock, weights_gib_per_s: float) -> None:
        self._clock = clock
        self._rate = weights_gib_per_s * GIB
        self._open: list[Machine] = []
        """In order of their numbers."""
        self._made = 0

    def take(self, gpu: GpuSpec, gpus: int, market: Market, zone: str) -> Machine:
        """Room for a replica of ``gpus``: on a machine that has it, else on a new one."""
        for machine in self._open:
            free = machine.gpus - machine.held_gpus
            if (machine.market, machine.zone) == (market, zone) and free >= gpus and machine.state != "leaving":
                machine.held_gpus += gpus
                self._list(machine)
                return machine
        unit = gpu.price.instance_gpus
        nodes = math.ceil(gpus / max(unit, gpu.max_scaleup_gpus))
        storage = Link("storage", self._rate * nodes)
        self._made += 1
        machine = Machine(self._made, market, zone, math.ceil(gpus / unit) * unit, storage, self._clock)
        machine.held_gpus = gpus
        self._list(machine)
        return machine

    def take_again(self, machine: Machine, gpus: int) -> None:
        """A replica of ``gpus`` comes up where one has just gone."""
        machine.held_gpus += gpus
        machine.state = "up"
        self._list(machine)

    def release(self, machine: Machine, gpus: int, *, broken: bool) -> None:
        """A replica of ``gpus`` has gone; a machine without any is handed back."""
        if not broken:
            machine.held_gpus -= gpus
        if not machine.held_gpus or machine.state == "leaving":
            machine.state = "leaving"
        self._list(machine)

    def _list(self, machine: Machine) -> None:
        """``machine`` is among the open ones while it has a GPU to give: broken ones would fill the list for ever."""
        has_one = machine.state != "leaving" and machine.held_gpus < machine.gpus
        if has_one and machine not in self._open:
            insort(self._open, machine, key=lambda one: one.number)
        elif not has_one and machine in self._open:
            self._open.remove(machine)
