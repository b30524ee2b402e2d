"""Damage as disks, editors, exports and people do it, drawn from a seed."""

from __future__ import annotations

import random
import re

_VALUES = (
    b"", b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"1_000", "\u0663".encode(), b"true", b"null", b"[]", b"{}", b"0x10",
    b"1e3", b"+5", b" 5 ", b"5.0", b"5.5", b"99999999999999999999", b"1e-320", b'"', b'"5"', b"5,6", b"'5'", b"NaN", b"Infinity",
    b"1700000000", b"1,024", b"1.024", b"3.4.5", b"--5", b"5-", b"2023-11-16", b"None", b"\xff",
)  # fmt: skip
_BYTES = (
    b'"',
    b"\0",
    b"\r",
    b"\n",
    b",",
    b";",
    b"\t",
    b"\xff",
    b"\xc3",
    b"[",
    b"}",
    b":",
    b"\\",
    b"\x1a",
    b" ",
    b"\xef\xbb\xbf",
)
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_KEY = re.compile(rb'"[a-zA-Z_.]+":')


def mutated(content: bytes, chance: random.Random) -> bytes:
    """``content`` after one to three kinds of damage."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(_KINDS)(content, chance)
    return content


def _place(content: bytes, chance: random.Random) -> int:
    return chance.randrange(len(content) + 1)


def _flip(content: bytes, chance: random.Random) -> bytes:
    at = min(_place(content, chance), max(len(content) - 1, 0))
    return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]


def _delete(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + content[at + chance.randint(1, 12) :]


def _insert(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    return content[:at] + chance.choice(_BYTES) + content[at:]


def _truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def _value(content: bytes, chance: random.Random) -> bytes:
    """One number becomes something else."""
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return _insert(content, chance)
    one = chance.choice(numbers)
    return content[: one.start()] + chance.choice(_VALUES) + content[one.end() :]


def _lines(content: bytes, chance: random.Random) -> bytes:
    """A line is doubled, moved, deleted, emptied or put at the end."""
    lines = content.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(5)
    if kind == 0:
        lines.insert(one, lines[one])
    elif kind == 1:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 2:
        del lines[one]
    elif kind == 3:
        lines.insert(one, b"")
    else:
        lines.append(lines[one])
    return b"\n".join(lines)


def _field(content: bytes, chance: random.Random) -> bytes:
    """In one line a field is doubled, dropped, quoted or the fields turn round."""
    lines = content.split(b"\n")
    one = chance.randrange(len(lines))
    fields = lines[one].split(b",")
    at = chance.randrange(len(fields))
    kind = chance.randrange(4)
    if kind == 0:
        fields.insert(at, fields[at])
    elif kind == 1:
        del fields[at]
    elif kind == 2:
        fields[at] = b'"' + fields[at] + b'"'
    else:
        fields = fields[1:] + fields[:1]
    lines[one] = b",".join(fields)
    return b"\n".join(lines)


def _key(content: bytes, chance: random.Random) -> bytes:
    """A JSON key is doubled with another value, or renamed."""
    keys = list(_KEY.finditer(content))
    if not keys:
        return _field(content, chance)
    one = chance.choice(keys)
    if chance.random() < 0.5:
        return content[: one.start()] + one[0] + b" 7, " + content[one.start() :]
    return content[: one.start()] + b'"x' + content[one.start() + 1 :]


def _encoding(content: bytes, chance: random.Random) -> bytes:
    """The whole file in another dress: harmless where it is text."""
    text = content.decode("utf-8", errors="surrogateescape")
    kind = chance.randrange(4)
    if kind == 0:
        return b"\xef\xbb\xbf" + content
    if kind == 1:
        return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if kind == 2:
        return content + chance.choice((b"\n", b"\n\n", b"\r\n", b" \n"))
    try:
        return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-16-be")))
    except UnicodeEncodeError:
        return content


_KINDS = (_flip, _flip, _delete, _insert, _truncate, _value, _value, _value, _lines, _field, _key, _encoding)
