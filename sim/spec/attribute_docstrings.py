"""The strings below a class's attributes: what a key means, read from the source when somebody asks.

pydantic reads them itself where it is told to, for every class at every start, which is a third of what importing the specs
costs; only the key reference wants them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


def attribute_docstrings(owner: type) -> Mapping[str, str]:
    """Attribute -> the string below it, of those that ``owner`` itself states."""
    return _of_module(owner.__module__).get(owner.__qualname__, {})


@cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    module = importlib.import_module(name)
    tree = ast.parse(inspect.getsource(module))
    return {node.name: dict(_described(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _described(node: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for above, below in pairwise(node.body):
        if not (isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(below, ast.Expr)):
            continue
        if isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found.append((above.target.id, inspect.cleandoc(below.value.value)))
    return found
