"""``translate``: a server's command line as keys of ``engine`` and a model, with what has no effect and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from sim.cli.lines import others, vllm
from sim.cli.lines.config_file import with_file
from sim.cli.lines.features import with_lora
from sim.cli.lines.words import Line, Server, cut
from sim.errors import ConfigError
from sim.spec import EngineSpec

_SWITCHES = {one.name for one in fields(EngineSpec) if one.type == "bool"}


@dataclass
class Translation:
    """What a line means here."""

    server: Server
    """Also the name of the engine preset."""
    model: str
    engine: dict[str, Any] = field(default_factory=dict)
    without_effect: list[str] = field(default_factory=list)
    """Options that change nothing that is modelled."""


def translate(text: str) -> Translation:
    """The configuration that the command line ``text`` means.

    Raises:
        ConfigError: one message with every option that is not modelled or not known.
    """
    line = with_file(cut(text))
    found = Translation(line.server, line.model)
    if line.version is not None and line.server == "vllm":
        found.engine["version"] = line.version
    refused = _vllm(line, found) if line.server == "vllm" else _other(line, found)
    if refused:
        raise ConfigError(f"vllm_line: not modelled: {'; '.join(refused)}")
    if not found.model:
        raise ConfigError(f"vllm_line: expected a model, but the line names none: {text!r}")
    return found


def _vllm(line: Line, found: Translation) -> list[str]:
    refused = []
    for name, value in line.environment.items():
        try:
            found.engine |= vllm.ENVIRONMENT[name](value) if name in vllm.ENVIRONMENT else {}
        except ValueError as error:
            refused.append(f"{name}={value} ({error})")
        if name.startswith("VLLM_") and name not in vllm.ENVIRONMENT:
            found.without_effect.append(name)
    for name, value in line.options.items():
        why, off = vllm.UNMODELLED.get(name, ("", ()))
        if name in vllm.READ:
            try:
                meant = vllm.READ[name](value)
            except ValueError as error:
                refused.append(f"--{_dashed(name)} ({error})")
                continue
            found.engine |= meant
            if not meant:
                found.without_effect.append(name)
        elif name in vllm.MODELLED and value is True and name not in _SWITCHES:
            refused.append(f"--{_dashed(name)} (it needs a value)")
        elif name in vllm.MODELLED:
            found.engine[name] = _value(value)
        elif name in vllm.UNMODELLED:
            if value in off:
                found.without_effect.append(name)
            else:
                refused.append(f"--{_dashed(name)} ({why})")
        elif name in vllm.WITHOUT_EFFECT:
            found.without_effect.append(name)
        else:
            refused.append(f"--{_dashed(name)} (no option of vllm serve that is known here)")
    found.engine = with_lora(line.options, found.engine)
    if line.options.get("enable_lora") is True:
        found.without_effect.remove("enable_lora")
    return refused


def _other(line: Line, found: Translation) -> list[str]:
    refused = []
    for name, value in line.options.items():
        if name in others.RENAMED[line.server] and value is True:
            refused.append(f"--{_dashed(name)} (it needs a value)")
        elif name in others.RENAMED[line.server]:
            found.engine[others.RENAMED[line.server][name]] = _value(value)
        elif name in others.FLAGS[line.server] and value is not False:
            found.engine |= others.FLAGS[line.server][name]
        elif name in others.WITHOUT_EFFECT[line.server]:
            found.without_effect.append(name)
        else:
            refused.append(f"--{_dashed(name)} (its preset does not model it)")
    return refused


def _value(value: Any) -> Any:
    """A word of the command line as configuration has it."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value


def _dashed(name: str) -> str:
    return name.replace("_", "-")
