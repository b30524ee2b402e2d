"""Which kind each layer is: the spellings in which files say that layers differ.

Two lists come out, one word a layer. Mixing: ``full``, ``sliding``, ``chunk``, ``indexed`` (chooses what it reads),
``state`` (recurrent), ``both`` (attention beside a state), ``cross``, ``none``. Feed-forward: ``dense``, ``moe``,
``none``. Most files list words (``layer_types``, ``mlp_layer_types``); older ones give periods, offsets, positions or a
pattern of letters.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.perf.hf_config.facts import Facts

_MIXING = {
    "full_attention": "full", "attention": "full", "global_attention": "full", "global": "full", "a": "full", "f": "full",
    "sliding_attention": "sliding", "local_attention": "sliding", "local": "sliding", "sliding_window": "sliding",
    "hybrid_sliding": "sliding", "chunked_attention": "chunk", "indexed_attention": "indexed", "sparse_attention": "indexed",
    "linear_attention": "state", "mamba": "state", "mamba2": "state", "m": "state", "recurrent": "state", "conv": "state",
    "r": "state", "kda": "state", "gated_delta": "state", "hybrid": "both", "mlp": "none", "moe": "none",
    "minimax_m3_sparse": "indexed",
}  # fmt: skip
_LETTERS = {"M": ("state", "none"), "*": ("full", "none"), "-": ("none", "dense"), "E": ("none", "moe")}
"""``hybrid_override_pattern`` of Nemotron-H: each layer is one thing only."""


def mixing(facts: Facts, layers: int, pattern: str, *, needs_flag: bool, first: int) -> list[str]:
    """The mixing kind of each layer. ``pattern`` is the class's own where the file says nothing: letters repeated over the
    layers (``F`` full, ``S`` sliding, ``C`` chunk, ``R`` state), or those in parentheses between the first layers and the
    last; ``needs_flag``: a window counts with ``use_sliding_window`` only; ``first``: the number that the file's layers
    begin with in its lists."""
    stated = facts.words("layer_types", layers) or facts.words("layers_block_type", layers)
    if stated is not None:
        kinds = [_word(facts, word) for word in stated]
    else:
        kinds = _derived(facts, layers, pattern, first)
    window = facts.whole("sliding_window", "sliding_window_size", "attention_window_size", "window_size", high=10**12)
    off = facts.found("use_sliding_window")[1] is False or (needs_flag and not facts.flag("use_sliding_window"))
    if off and not (stated and needs_flag and facts.found("use_sliding_window")[1] is None):
        window = 0
    if not window:
        kinds = ["full" if kind == "sliding" else kind for kind in kinds]
    return kinds


def feed_forward(facts: Facts, layers: int, experts: int, dense_first: int = 0) -> list[str]:
    """The feed-forward kind of each layer; the ``dense_first`` ones are no mixtures where the file says nothing of it."""
    listed = facts.words("mlp_layer_types", layers)
    if listed is not None:
        known = {"dense": "dense", "sparse": "moe", "moe": "moe", "hash_moe": "moe", "none": "none"}
        for word in listed:
            if word not in known:
                raise facts.refused("mlp_layer_types", f"known are {', '.join(known)}, but got {word!r}")
        return [known[word] for word in listed]
    if not experts:
        return ["dense"] * layers
    sparse = _mixture_layers(facts, layers, dense_first)
    return ["moe" if layer in sparse else "dense" for layer in range(layers)]


def letters(facts: Facts, layers: int) -> tuple[list[str], list[str]] | None:
    """Both lists from a pattern of letters or from block types that name one thing each, where the file has them."""
    pattern = facts.text("hybrid_override_pattern")
    blocks = facts.words("layers_block_type", layers)
    if pattern:
        unknown = sorted(set(pattern) - set(_LETTERS))
        if unknown or len(pattern) < layers:
            raise facts.refused(
                "hybrid_override_pattern",
                f"must have one of {' '.join(_LETTERS)} for each of the {layers} layers, but got {pattern!r}",
            )
        pairs = [_LETTERS[letter] for letter in pattern[:layers]]
    elif blocks is not None:
        alone = {"moe": ("none", "moe"), "mlp": ("none", "dense")}
        pairs = [alone.get(word) or (_word(facts, word, "layers_block_type"), "none") for word in blocks]
    else:
        return None
    return [mix for mix, _ in pairs], [forward for _, forward in pairs]


def _word(facts: Facts, word: str, key: str = "layer_types") -> str:
    if word not in _MIXING:
        raise facts.refused(key, f"known are {', '.join(_MIXING)}, but got {word!r}")
    return _MIXING[word]


def _derived(facts: Facts, layers: int, pattern: str, first: int) -> list[str]:
    """The kinds where no list of words is stated."""
    every = range(layers)
    for name, inside, outside in (
        ("attn_layer_indices", "full", "state"), ("full_attn_idxs", "full", "state"),
        ("cross_attention_layers", "cross", "full"), ("local_layer_ids", "sliding", "full"),
    ):  # fmt: skip
        chosen = facts.numbers(name)
        if chosen is not None:
            return [inside if layer in chosen else outside for layer in every]
    linear = facts.inner("linear_attn_config")
    if linear is not None:
        chosen = linear.numbers("full_attn_layers") or ()
        return ["full" if layer + first in chosen else "state" for layer in every]
    for name, zero, one in (("attn_type_list", "state", "full"), ("hybrid_layer_pattern", "full", "sliding")):
        marks = facts.numbers(name)
        if marks is not None:
            if len(marks) < layers:
                raise facts.refused(name, f"must have one entry for each of the {layers} layers, but got {len(marks)}")
            return [one if marks[layer] else zero for layer in every]
    if facts.found("attn_layer_period")[1] is not None and "R" in pattern:
        period, offset = facts.whole("attn_layer_period", low=1), facts.whole("attn_layer_offset")
        return ["full" if layer % period == offset else "state" for layer in every]
    interval = facts.whole("full_attention_interval", "layer_group_size")
    if interval and "R" in pattern:
        return ["full" if (layer + 1) % interval == 0 else "state" for layer in every]
    return _windows(facts, layers, pattern)


def _windows(facts: Facts, layers: int, pattern: str) -> list[str]:
    """Sliding layers by a period, a pattern of letters, or from one layer on."""
    name, period = facts.found("sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers")
    if isinstance(period, str) and period:
        kinds = {"L": "sliding", "G": "full", "S": "sliding", "F": "full"}
        if set(period) - set(kinds):
            raise facts.refused(name, f"must be a number or a pattern of {' '.join(kinds)}, but got {period!r}")
        return [kinds[period[layer % len(period)]] for layer in range(layers)]
    if period is not None:
        every = facts.whole(name, low=1)
        return ["full" if (layer + 1) % every == 0 else "sliding" for layer in range(layers)]
    interval = facts.whole("no_rope_layer_interval")
    if interval and "C" in pattern:
        rope = facts.numbers("no_rope_layers")
        if rope:
            return ["chunk" if layer < len(rope) and rope[layer] else "full" for layer in range(layers)]
        return ["full" if (layer + 1) % interval == 0 else "chunk" for layer in range(layers)]
    if pattern == "Q":  # Qwen2: the layers from this one on
        start = facts.whole("max_window_layers")
        return ["sliding" if layer >= start else "full" for layer in range(layers)]
    kinds = {"F": "full", "S": "sliding", "C": "chunk", "R": "state", "I": "indexed", "B": "both"}
    return [kinds[letter] for letter in _repeated(pattern, layers)]


def _repeated(pattern: str, layers: int) -> str:
    """One letter of ``pattern`` a layer."""
    first, _, rest = pattern.rpartition("(") if "(" in pattern else ("", "", pattern)
    middle, _, last = rest.partition(")")
    found = (first + middle * layers)[:layers]
    return found[: layers - len(last)] + last if len(last) < layers else found


def _mixture_layers(facts: Facts, layers: int, dense_first: int) -> set[int]:
    """Layers that are mixtures of experts: all but those that one of the spellings leaves out."""
    every = set(range(layers))
    chosen = facts.numbers("moe_layers")
    if chosen:
        return set(chosen) & every
    listed = facts.text("moe_layers_enum") if isinstance(facts.stated.get("moe_layers_enum"), str) else ""
    if listed:
        try:
            return {int(part) for part in listed.split(",")} & every
        except ValueError:
            raise facts.refused("moe_layers_enum", f"must be layer numbers with commas, but got {listed!r}") from None
    frequency = facts.stated.get("moe_layer_freq")
    if isinstance(frequency, list):
        marks = facts.numbers("moe_layer_freq") or ()
        if len(marks) < layers:
            raise facts.refused(
                "moe_layer_freq", f"must have one entry for each of the {layers} layers, but got {len(marks)}"
            )
        return {layer for layer in every if marks[layer]}
    if facts.says("moe_layer_start_index", "moe_layer_interval"):
        start, step = facts.whole("moe_layer_start_index"), facts.whole("moe_layer_interval", default=1, low=1)
        last = facts.stated.get("moe_layer_end_index")
        end = layers - 1 if last in (None, -1) else facts.whole("moe_layer_end_index")
        return {layer for layer in every if start <= layer <= end and (layer + 1) % step == 0}
    if facts.found("expert_layer_period")[1] is not None:
        period, offset = facts.whole("expert_layer_period", low=1), facts.whole("expert_layer_offset")
        return {layer for layer in every if layer % period == offset}
    step = facts.whole(
        "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_frequency", "moe_layer_freq", default=1
    )
    dense: Sequence[int] = facts.numbers("mlp_only_layers") or ()
    usual = 0 if facts.says("mlp_only_layers") else dense_first
    first = facts.whole("first_k_dense_replace", "num_dense_layers", "n_dense_layers", default=usual)
    return {layer for layer in every if step and (layer + 1) % step == 0 and layer >= first and layer not in dense}
