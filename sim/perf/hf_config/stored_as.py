"""Bits and names in a quantisation as number types with their groups."""

from __future__ import annotations

from sim.perf.hf_config.facts import Facts
from sim.spec.layers import USUAL_GROUP, WeightDtype, Weights

INTEGERS: dict[int, WeightDtype] = {2: "int2", 3: "int3", 4: "int4", 5: "int5", 6: "int6", 8: "int8_weight_only"}
BF16 = Weights(dtype="bf16")
_QUARK: dict[str, WeightDtype] = {
    "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "int4": "int4", "uint4": "int4", "int8": "int8", "fp4": "mxfp4", "mxfp4": "mxfp4",
    "fp6_e3m2": "fp6", "fp6_e2m3": "fp6",
}  # fmt: skip


def stored(dtype: WeightDtype, group: int) -> Weights:
    """The type with its group size, left open where it is the format's usual one."""
    return Weights(dtype=dtype, group_size=0 if group == USUAL_GROUP.get(dtype) else group)


def group_size(stated: Facts) -> int:
    """Weights a group; 0 = a whole column, or not stated."""
    value = stated.found("group_size", "q_group_size")[1]
    return 0 if value in (None, -1) else stated.whole("group_size", "q_group_size", low=1)


def integers(stated: Facts, usual_bits: int = 4) -> Weights:
    """``bits`` in groups; 16 and more are not quantised."""
    bits = stated.whole("bits", "w_bit", "nbits", default=usual_bits, low=1, high=32)
    if bits >= 16:
        return BF16
    if stated.text("data_type").startswith(("fp", "nv_fp", "mx_fp")):
        return stored("mxfp4" if "mx" in stated.text("data_type") else "fp4", 0) if bits == 4 else stored("fp8", 0)
    if bits not in INTEGERS:
        raise stated.refused("bits", f"known are {', '.join(map(str, INTEGERS))}, but got {bits}")
    return stored(INTEGERS[bits], group_size(stated))


def quark(stated: Facts, key: str) -> Weights:
    """``weight.dtype`` of one of Quark's configurations; a list is what is done one after the other, the last one stored."""
    held = stated.stated.get("weight")
    inner = held[-1] if isinstance(held, list) and held else held
    own = Facts(inner, stated.where, nested=True) if isinstance(inner, dict) else Facts({}, stated.where)
    kind = own.text("dtype")
    if kind not in _QUARK:
        raise stated.refused(f"{key}.weight.dtype", f"known are {', '.join(_QUARK)}, but got {kind!r}")
    group = group_size(own)
    dtype = "fp4" if _QUARK[kind] == "mxfp4" and group == USUAL_GROUP["fp4"] else _QUARK[kind]
    return stored(dtype, group)
