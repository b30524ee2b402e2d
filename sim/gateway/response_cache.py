"""Exact answers kept by prompt, and requests that wait for an equal one under way. Plain code without a clock.

Two prompts are equal when the trace gives them the same ``prompt_id``. Left out: semantic (approximate) matches.
"""

from __future__ import annotations

from collections import OrderedDict

from sim.gateway.request import Answer, ClientRequest
from sim.spec.gateway.answers import ResponseCache as ResponseCacheSpec


class ResponseCache:
    """Answers by ``prompt_id`` with a time to live; the least recently used goes first.

    An answer lives ``ttl_s`` from the moment an engine or a provider gave it: a hit moves it up in the order, and does not
    renew its time, and at the end of it the answer is stale (RFC 9111 section 4.2; Redis' ``SET ... EX`` under LiteLLM).
    """

    def __init__(self, spec: ResponseCacheSpec) -> None:
        self._spec = spec
        self.latency_s = spec.latency_s
        self._entries: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def look_up(self, prompt_id: str, now_s: float) -> int | None:
        """Tokens of the answer kept for ``prompt_id``, or None."""
        entry = self._entries.get(prompt_id)
        if entry is None:
            return None
        if entry[0] <= now_s:
            del self._entries[prompt_id]
            return None
        self._entries.move_to_end(prompt_id)
        return entry[1]

    def keep(self, prompt_id: str, output_tokens: int, now_s: float) -> None:
        """Remember an answer."""
        self._entries[prompt_id] = (now_s + self._spec.ttl_s, output_tokens)
        self._entries.move_to_end(prompt_id)
        while len(self._entries) > self._spec.max_entries:
            self._entries.popitem(last=False)


class Twins:
    """Who waits for whom: the first asker of a prompt leads, equal ones follow until it has an outcome."""

    def __init__(self) -> None:
        self._followers: dict[str, list[ClientRequest]] = {}

    def lead_or_follow(self, request: ClientRequest) -> bool:
        """True: ``request`` follows one under way. False: it leads from now on."""
        followers = self._followers.get(request.prompt_id)
        if followers is None:
            self._followers[request.prompt_id] = []
            return False
        followers.append(request)
        return True

    def leave(self, request: ClientRequest) -> None:
        """``request`` follows nobody any more."""
        followers = self._followers.get(request.prompt_id)
        if followers is not None and request in followers:
            followers.remove(request)

    def settle(self, prompt_id: str, answer: Answer | None) -> None:
        """The leader is done: its followers wake with its answer, or None to ask for themselves."""
        for follower in self._followers.pop(prompt_id, []):
            follower.wake(answer)
