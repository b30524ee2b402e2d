"""Numbers as everybody writes them, and messages that any terminal may print.

Python takes ``1_000`` and digits of any alphabet for numbers; on a command line both are slips more often than numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sim.errors import ConfigError

_ODD_NUMBER = re.compile(r"[-+]?(?=[^a-z]*[_\u0080-\U0010ffff])\d[\d_]*(\.[\d_]*)?([eE][-+]?[\d_]+)?")
"""A number that holds ``_`` or a digit that is not one of 0-9."""
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_LONG = re.compile(r"(\S{160})\S{240,}(\S{40})")


def check_numbers(text: str, where: str) -> None:
    """Refuse odd numbers among the words of an override's value ``text``, quoted strings apart.

    Raises:
        ConfigError: naming the number and ``where`` it stands.
    """
    for word in re.split(r"[\s,:=()\[\]{}]+", _QUOTED.sub(" ", text)):
        if _ODD_NUMBER.fullmatch(word):
            raise ConfigError(f"{where}: {word}: write numbers with the digits 0-9 alone; a name wants quotes")


def check_flags(arguments: Sequence[str]) -> None:
    """Refuse odd numbers as the values of flags (``--seed 1_000``).

    Raises:
        ConfigError: naming the number and its flag.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        flag, equals, value = argument.partition("=") if argument.startswith("--") else (before, "=", argument)
        if flag.startswith("--") and equals and _ODD_NUMBER.fullmatch(value) and not Path(value).exists():
            raise ConfigError(f"{flag}: {value}: write numbers with the digits 0-9 alone")


def printable(message: str) -> str:
    """``message`` without what would steer a terminal, its overlong words cut in the middle."""
    shown = "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in message)
    return _LONG.sub(r"\1...\2", shown)
