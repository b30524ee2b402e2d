"""``--vllm LINE``: a flag of every verb that takes overrides."""

from __future__ import annotations

from collections.abc import Sequence

from sim.errors import ConfigError


def with_flags_named(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with ``--vllm LINE`` as ``vllm_line=LINE``.

    Raises:
        ConfigError: the flag without a line.
    """
    found: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--vllm":
            if not rest:
                raise ConfigError("--vllm: expected a line, e.g. --vllm 'vllm serve MODEL --max-num-seqs 64'")
            found.append(f"vllm_line={rest.pop(0)}")
        elif word.startswith("--vllm="):
            found.append(f"vllm_line={word.removeprefix('--vllm=')}")
        else:
            found.append(word)
    return found
