"""Tokens of a text: counted by a tokenizer where one is given, else by a stated number of characters.

``workload.tokenizer`` is a ``tokenizer.json`` (package ``tokenizers``) or the name of an encoding or model that
``tiktoken`` knows. Without it a text has ceil(characters / ``workload.characters_per_token``) tokens: 4 is usual for
English prose in today's vocabularies; code and other languages have fewer (2 to 3), so say what yours has.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.errors import ConfigError

Count = Callable[[str], int]


def counter(tokenizer: str | None, characters_per_token: float) -> Count:
    """What counts the tokens of a text.

    Raises:
        ConfigError: no such tokenizer, or its package is not installed.
    """
    if tokenizer is None:
        return lambda text: math.ceil(len(text) / characters_per_token)
    if Path(tokenizer).suffix == ".json" or Path(tokenizer).exists():
        return _from_file(Path(tokenizer))
    tiktoken = _package("tiktoken", tokenizer)
    try:
        encoding = tiktoken.get_encoding(tokenizer)
    except (KeyError, ValueError):
        try:
            encoding = tiktoken.encoding_for_model(tokenizer)
        except KeyError:
            raise ConfigError(
                f"workload.tokenizer is {tokenizer!r}; legal is a tokenizer.json, or what tiktoken knows (cl100k_base, ...)"
            ) from None
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def _from_file(path: Path) -> Count:
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(f"workload.tokenizer is {str(path)!r}; there is no such file")
    tokenizers = _package("tokenizers", str(path))
    try:
        found = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exception
        raise ConfigError(f"workload.tokenizer is {str(path)!r}, which is no tokenizer.json ({error})") from None
    return lambda text: len(found.encode(text, add_special_tokens=False).ids)


def _package(name: str, tokenizer: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"workload.tokenizer={tokenizer} needs the package {name} (pip install {name}); without a tokenizer, "
            "workload.characters_per_token says how long a token is"
        ) from None
