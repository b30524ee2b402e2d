"""Cutting a server's command line into its model and its options."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Literal

from sim.errors import ConfigError

Server = Literal["vllm", "sglang", "tensorrt_llm"]
_SHORT = {
    "tp": "tensor_parallel_size", "pp": "pipeline_parallel_size", "dp": "data_parallel_size", "q": "quantization",
    "dcp": "decode_context_parallel_size", "pcp": "prefill_context_parallel_size", "ep": "enable_expert_parallel",
    "cc": "compilation_config", "sc": "speculative_config", "O": "optimization_level", "asc": "additional_config",
    "tpd": "tensor_parallel_size",
}  # fmt: skip
_LISTS = {
    "cudagraph_capture_sizes", "cuda_graph_sizes", "lora_modules", "middleware", "allowed_origins", "logits_processors",
}  # fmt: skip
"""Options that take several words."""
_STARTS: tuple[tuple[str, Server], ...] = (
    (r"vllm\.entrypoints\.openai\.api_server$", "vllm"), (r"(^|/)vllm-openai(-rocm)?(:\S*)?$", "vllm"),
    (r"sglang\.launch_server$", "sglang"), (r"(^|/)trtllm-serve$", "tensorrt_llm"), (r"(^|/)sgl(ang)?(:\S*)?$", "sglang"),
)  # fmt: skip


@dataclass
class Line:
    """``options`` under their long names with underscores; a value is a string, a bool for a flag, or what JSON says."""

    server: Server
    model: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    version: str | None = None
    """Of the container image, where the line names one."""


def cut(text: str) -> Line:
    """The options of ``vllm serve MODEL ...``, ``python -m vllm.entrypoints.openai.api_server ...``, a ``docker run`` of its
    image, ``python -m sglang.launch_server ...`` or ``trtllm-serve MODEL ...``; environment and prompt before it are passed
    over.

    Raises:
        ConfigError: an open quote, or no such command.
    """
    try:
        words = shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise ConfigError(f"vllm_line: {error} in {text!r}") from None
    line, rest = _start(words, text)
    number = 0
    while number < len(rest):
        word = rest[number]
        number += 1
        if not word.startswith("-") or word == "-":
            if line.model:
                raise ConfigError(f"vllm_line: expected an option, but got {word!r} after the model {line.model!r}")
            line.model = word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        found: Any = value
        if not equals:
            if number < len(rest) and not re.match(r"--?[A-Za-z]", rest[number]):
                found = rest[number]
                number += 1
            else:
                found = True
        if name.replace("-", "_") in _LISTS:
            found = [] if found is True else [found]
            while number < len(rest) and not re.match(r"--?[A-Za-z]", rest[number]):
                found.append(rest[number])
                number += 1
            found = [int(one) if one.isdigit() else one for one in found]
        _enter(line, name, found)
    for key in ("model", "model_path", "model_tag"):
        line.model = str(line.options.pop(key, "") or line.model)
    return line


def _start(words: list[str], text: str) -> tuple[Line, list[str]]:
    for place, word in enumerate(words):
        if word == "serve" and place and re.search(r"(^|/)(vllm|trtllm|sglang)$", words[place - 1]):
            server: Server = (
                "sglang" if "sglang" in words[place - 1] else "tensorrt_llm" if "trt" in words[place - 1] else "vllm"
            )
            return Line(server), words[place + 1 :]
        for pattern, name in _STARTS:
            if re.search(pattern, word):
                version = re.search(r":v?(\d+\.\d+(?:\.\d+)?)", word)
                rest = words[place + 1 :]
                if rest[:1] == ["serve"]:
                    rest = rest[1:]
                return Line(name, version=version[1] if version else None), rest
    raise ConfigError(
        "vllm_line: expected `vllm serve MODEL ...`, `python -m sglang.launch_server ...` or `trtllm-serve MODEL ...`, "
        f"but got {text!r}"
    )


def _enter(line: Line, name: str, value: Any) -> None:
    joined = re.fullmatch(r"(tp|pp|dp|O)(\d+)", name)  # -tp4, -O3
    if joined is not None:
        name, value = joined[1], joined[2]
    head, dot, inner = name.partition(".")
    long = _SHORT.get(head, head.replace("-", "_"))
    if dot:  # --limit-mm-per-prompt.image 0: a key of a JSON option
        held = line.options.setdefault(long, {})
        if isinstance(held, dict):
            held[inner] = _json(value)
        return
    if long.startswith("no_") and value is True:
        long, value = long[3:], False
    line.options[long] = _json(value)


def _json(value: Any) -> Any:
    """A JSON object or list as such; numbers and words stay as they are written."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
