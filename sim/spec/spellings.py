"""vLLM's own spellings of a value, as it accepts them on its command line.

Sizes: ``32k`` is 32,000 and ``32K`` 32,768, likewise m/M and g/G (``vllm/utils/argparse_utils.py``).
Types: every name of an 8-bit cache format is ``fp8`` here, because their bytes are equal.
"""

from __future__ import annotations

import re
from typing import Any

AUTO_LENGTH = -1
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_KV = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "fp8_inc": "fp8",
    "fp8_ds_mla": "fp8", "fp8_per_token_head": "fp8",
}  # fmt: skip
_WEIGHTS = {
    "fp8_per_tensor": "fp8", "fp8_per_block": "fp8", "fp8_per_channel": "fp8", "fbgemm_fp8": "fp8", "ptpc_fp8": "fp8",
    "mxfp8": "fp8",
    "modelopt": "fp8", "nvfp4": "fp4", "nvfp4_per_token": "fp4", "modelopt_fp4": "fp4", "bitsandbytes": "nf4",
    "int8_per_channel_weight_only": "int8_weight_only", "experts_int8": "int8_weight_only", "awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4", "gptq_marlin": "int4",
}  # fmt: skip


def as_tokens(stated: Any) -> Any:
    """A count with a suffix as a number; ``auto`` as -1, as vLLM keeps it."""
    return AUTO_LENGTH if stated in ("-1", "auto") else _sized(stated)


def as_bytes(stated: Any) -> Any:
    """Bytes with a suffix (``20G``, ``20GiB``, ``500MB``) as a number."""
    return _sized(re.sub(r"(?<=[kKmMgGtT])(i?[bB])$", "", stated) if isinstance(stated, str) else stated)


def as_kv_dtype(stated: Any) -> Any:
    """A cache type under vLLM's name as ours."""
    return _KV.get(stated, stated) if isinstance(stated, str) else stated


def as_state_dtype(stated: Any) -> Any:
    """The type of a recurrent state under vLLM's name as ours."""
    return {**_KV, "float32": "fp32", "float": "fp32"}.get(stated, stated) if isinstance(stated, str) else stated


def as_weight_dtype(stated: Any) -> Any:
    """A quantisation method under vLLM's name as the type its matrices have."""
    return _WEIGHTS.get(stated, stated) if isinstance(stated, str) else stated


def _sized(stated: Any) -> Any:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)", stated.strip()) if isinstance(stated, str) else None
    if found is None:
        return stated
    number, suffix = found.groups()
    size = float(number) * ({**_DECIMAL, **_BINARY}[suffix] if suffix else 1)
    return int(size) if size == int(size) else stated
