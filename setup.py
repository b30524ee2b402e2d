"""The packages, found; and the hot rooms compiled: what ``pyproject.toml`` cannot say of a wheel.

Where a C compiler and Python's headers are found, ``sim.forms.compiled_modules`` are compiled by mypyc and the wheel is one
for this platform. Elsewhere, with ``SERVECAP_PURE=1``, and for an editable install, everything stays Python.
"""

from __future__ import annotations

import os
import runpy
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup

BUILDS = {"bdist_wheel", "build", "build_ext", "install"}
"""Commands that want the extensions; an editable install, an sdist and metadata do not."""

SAME_BYTES = [] if sys.platform == "win32" else ["-ffp-contract=off"]
"""A fused multiply-add rounds once where Python rounds twice."""


def compiler_found() -> bool:
    """Whether a file that includes Python.h compiles here."""
    from distutils.ccompiler import new_compiler
    from distutils.errors import CCompilerError, DistutilsError
    from distutils.sysconfig import customize_compiler

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\nint probe(void) { return 0; }\n")
        compiler = new_compiler()
        try:
            customize_compiler(compiler)
            compiler.compile([str(source)], output_dir=folder, include_dirs=[sysconfig.get_path("include")])
        except (CCompilerError, DistutilsError, OSError):
            return False
    return True


def extensions() -> list[Extension]:
    """The compiled modules; none, with one line why, where they cannot be had."""
    forms = runpy.run_path(str(Path(__file__).parent / "sim" / "forms.py"))
    if not BUILDS & set(sys.argv) or forms["pure_is_asked"]():
        return []
    if not compiler_found():
        print("servecap: no C compiler with Python's headers is here; the wheel stays pure Python", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    files = [f"{name.replace('.', '/')}.py" for name in forms["compiled_modules"]()]
    options = ["--config-file=", f"--cache-dir={os.devnull}", "--ignore-missing-imports", "--follow-imports=silent"]
    try:
        compiled: list[Extension] = mypycify([*options, *files], opt_level="3", debug_level="0")
    except SystemExit:  # how mypyc ends when another release of mypy finds fault with a type
        print("servecap: mypyc does not take the sources (see above); the wheel stays pure Python", file=sys.stderr)
        return []
    for extension in compiled:
        extension.extra_compile_args += SAME_BYTES
    return compiled


ROOMS = find_packages(include=["sim", "sim.*"], exclude=["sim.cli.hydra_plugin"])
MAPPED = ["sim.configs", "sim.traces", "sim.guide", "hydra_plugins.servecap"]
"""Packages that lie elsewhere in the tree (``package-dir`` of pyproject.toml)."""

setup(packages=[*ROOMS, *MAPPED], ext_modules=extensions())
