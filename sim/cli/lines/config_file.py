"""``vllm serve --config FILE``: options in YAML, under those of the command line itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from sim.cli.lines.words import Line
from sim.errors import ConfigError


def with_file(line: Line) -> Line:
    """``line`` with the options of the file that it names; the line's own win, as in vLLM.

    Raises:
        ConfigError: no such file, or not an object of options.
    """
    named = line.options.get("config")
    if named is None or line.server != "vllm":
        return line
    try:
        stated = yaml.safe_load(Path(str(named)).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"vllm_line: --config: {named} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"vllm_line: --config: {named} is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(stated, dict) or not all(isinstance(key, str) for key in stated):
        raise ConfigError(f"vllm_line: --config: {named} must hold options by name, but got {type(stated).__name__}")
    options = {key.replace("-", "_"): value for key, value in stated.items()}
    model = line.model or str(options.get("model") or options.get("model_tag") or "")
    own = {name: value for name, value in line.options.items() if name != "config"}
    rest = {name: value for name, value in options.items() if name not in ("model", "model_tag")}
    return replace(line, model=model, options={**rest, **own})
