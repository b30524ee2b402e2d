"""Cutting a server's command line into its model and its options."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

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
    "served_model_name", "api_key", "ignore_patterns", "allowed_media_domains", "collect_detailed_traces",
}  # fmt: skip
"""Options that take several words."""
_PARTS = {"spec_method": "method", "spec_model": "model", "spec_tokens": "num_speculative_tokens"}
"""Options that are keys of ``--speculative-config``."""
_FLAG = re.compile(
    r"(no|enable|disable|use|return|trust|skip|fail|exclude|ray|aggregate|allow_credentials|log_error|is)(_|$)"
    r"|(headless|enforce_eager|language_model_only|async_scheduling|calculate_kv_scales|fully_sharded_loras|numa_bind"
    r"|tokenizer_init|long_prefill_token_threshold_adaptive|scheduler_reserve_full_isl|data_parallel_(hybrid|external)_lb)$"
)
"""Options that take no word: what follows them is the model, unless it is a truth value."""
_TRUTHS = {"true", "false"}
_ENDS = re.compile(r"(&&?|\|\|?|;|\d?>>?(&\d)?|&>)")
"""A word of the shell that ends the command (or leads its output elsewhere)."""
_RELEASE = re.compile(r"#\s*vLLM\s+v?(\d+\.\d+(?:\.\d+)?)", re.IGNORECASE)
"""A comment that says the release, as ``sim.spec.serve_line`` writes it."""
_MODULES: tuple[tuple[str, Server], ...] = (
    (r"vllm\.entrypoints\.(openai\.)?api_server$", "vllm"), (r"sglang\.launch_server$", "sglang"),
    (r"(^|/)trtllm-serve$", "tensorrt_llm"),
)  # fmt: skip
_IMAGES: tuple[tuple[str, Server], ...] = (
    (r"(^|/)vllm(-openai)?(-rocm|-dev)?[:@]\S+$", "vllm"), (r"(^|/)vllm-openai(-rocm)?$", "vllm"),
    (r"(^|/)sgl(ang)?(:\S*)?$", "sglang"),
)  # fmt: skip
"""Containers whose arguments are the server's, unless a command follows."""


@dataclass
class Line:
    """``options`` under their long names with underscores; a value is a string, a bool for a flag, or what JSON says."""

    server: Server
    model: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    version: str | None = None
    """Of the container image, or of a comment, where the line names one."""
    environment: dict[str, str] = field(default_factory=dict)
    """What is assigned before the command, and by ``-e`` before a container's image."""


def cut(text: str) -> Line:
    """The options of ``vllm serve MODEL ...``, ``python -m vllm.entrypoints.openai.api_server ...``, a ``docker run`` of its
    image, ``python -m sglang.launch_server ...`` or ``trtllm-serve MODEL ...``; a container's list of arguments; what stands
    before the command, and after its end, is passed over.

    Raises:
        ConfigError: an open quote, or no such command.
    """
    words = _words(text)
    line, rest = _start(words, text)
    release = _RELEASE.search(text)
    line.version = line.version or (release[1] if release else None)
    end = next((place for place, word in enumerate(rest) if _ENDS.match(word)), len(rest))
    rest = rest[:end]
    if any(word.endswith(";") for word in rest):
        end = next(place for place, word in enumerate(rest) if word.endswith(";"))
        rest = [*rest[:end], rest[end].rstrip(";")]
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
            found = True
            given = number < len(rest) and not re.match(r"--?[A-Za-z]", rest[number])
            if given and (not _FLAG.match(name.replace("-", "_")) or rest[number].lower() in _TRUTHS):
                found = rest[number]
                number += 1
        if name.replace("-", "_") in _LISTS:
            found = [] if found is True else [found]
            while number < len(rest) and not re.match(r"--?[A-Za-z]", rest[number]):
                found.append(rest[number])
                number += 1
            listed = _json(found[0]) if len(found) == 1 else found
            found = [int(one) if str(one).isdigit() else one for one in (listed if isinstance(listed, list) else found)]
        _enter(line, name, found)
    for key in ("model", "model_path", "model_tag"):
        line.model = str(line.options.pop(key, "") or line.model)
    return line


def _words(text: str) -> list[str]:
    """``text`` as the shell cuts it, or a container's YAML list; a command within one word (``bash -c``) is cut, too."""
    stated = text.strip()
    if re.match(r"\[|- ", stated):
        try:
            listed = yaml.safe_load(stated)
        except yaml.YAMLError:
            listed = None
        if isinstance(listed, list) and all(isinstance(one, str | int | float | bool) for one in listed):
            return [str(one) for one in listed]
    try:
        words = shlex.split(re.sub(r"\\\s*\n", " ", text), comments=True)
    except ValueError as error:
        raise ConfigError(f"vllm_line: {error} in {text!r}") from None
    for place, word in enumerate(words):
        if re.search(r"\s", word) and _command(words[:place]) is None and _command(shlex.split(word)) is not None:
            return shlex.split(word)
    return words


def _start(words: list[str], text: str) -> tuple[Line, list[str]]:
    """The line that begins where the command ends, and the words after it."""
    found = _command(words)
    if found is None and words and words[0].startswith("--"):  # the arguments of a container whose image serves
        found = "vllm", 0
    if found is None:
        raise ConfigError(
            "vllm_line: expected `vllm serve MODEL ...`, `python -m sglang.launch_server ...` or `trtllm-serve MODEL ...`, "
            f"but got {text!r}"
        )
    server, place = found
    before = words[:place]
    images = (re.search(r"vllm\S*:v?(0\.\d+(?:\.\d+)?)", word) for word in before if server == "vllm")
    image = next((found for found in images if found), None)
    assigned = [word.partition("=") for word in before if re.match(r"[A-Za-z_]\w*=", word)]
    environment = {name: value for name, _, value in assigned}
    rest = words[place:]
    return Line(server, version=image[1] if image else None, environment=environment), rest


def _command(words: Sequence[str]) -> tuple[Server, int] | None:
    """Whose command stands in ``words``, and the place after it."""
    for place, word in enumerate(words):
        last = re.search(r"(^|[/.])(vllm|trtllm|sglang|main)$", words[place - 1]) if place and word == "serve" else None
        if last is not None:
            return "sglang" if last[2] == "sglang" else "tensorrt_llm" if last[2] == "trtllm" else "vllm", place + 1
    for starts in (_MODULES, _IMAGES):
        for place, word in enumerate(words):
            for pattern, name in starts:
                if re.search(pattern, word):
                    return name, place + (2 if words[place + 1 : place + 2] == ["serve"] else 1)
    return None


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
    if long in _PARTS:  # one key of a JSON option under a name of its own
        held = line.options.setdefault("speculative_config", {})
        if isinstance(held, dict):
            held[_PARTS[long]] = int(value) if str(value).isdigit() else value
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
