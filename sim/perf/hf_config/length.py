"""The longest sequence that a model is for, as vLLM derives it (``ModelConfig._get_and_verify_max_len``).

The smallest of the keys that state a length, or ``model_max_length`` where the file has it; times the factor of RoPE
scaling, except where the stated length includes it (llama3, longrope, su, Gemma 3) and except YaRN, whose factor applies to
``original_max_position_embeddings``. vLLM 0.33 leaves a YaRN model its stated length when ``max_model_len`` is unset, and
every release leaves a longrope model its original one; both may be set up to what is derived here.
"""

from __future__ import annotations

from typing import Any

from sim.perf.hf_config.facts import Facts

_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_target_positions", "max_sequence_length",
    "max_seq_length", "seq_len", "context_length",
)  # fmt: skip
_INCLUDED = ("default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "telechat3-yarn", "mrope", "proportional")
_NOTHING_STATED = 2048
MOST = 1_000_000_000


def max_context(facts: Facts) -> tuple[int, int | None]:
    """``(longest, unset)``, tokens: the longest that may be asked for, and what vLLM takes when nothing is asked (None =
    the longest)."""
    stated = [facts.whole(key, low=2, high=MOST) for key in _KEYS if facts.found(key)[1] is not None]
    length = facts.whole("model_max_length", low=2, high=10**31) or min(stated, default=_NOTHING_STATED)
    length = min(length, MOST)
    ropes = _ropes(facts)
    for rope in ropes:
        kind = rope.text("rope_type", "type", default="default")
        factor = rope.number("factor", default=1.0)
        original = rope.whole("original_max_position_embeddings", high=MOST)
        if kind == "yarn" and original:
            return max(length, int(original * factor)), None
        if kind == "longrope":
            return length, facts.whole("original_max_position_embeddings", high=MOST) or None
        if kind not in _INCLUDED and not facts.kind.startswith("gemma3"):
            return min(int(length * factor), MOST), None
    return length, None


def _ropes(facts: Facts) -> list[Facts]:
    """The RoPE objects: one, or one for each kind of layer."""
    rope = facts.inner("rope_scaling", "rope_parameters")
    if rope is None:
        return []
    inner: dict[str, Any] = {name: value for name, value in rope.stated.items() if isinstance(value, dict)}
    return [Facts(value, f"{rope.where}.{name}") for name, value in inner.items()] or [rope]
