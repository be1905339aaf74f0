"""Builds the extension. Everything else is in pyproject.toml."""

import sys
from glob import glob

from setuptools import Extension, setup

# Elsewhere the package installs without its engine, imports, and says that shared-memory spaces need Linux.
engine = Extension(
    "interlock._engine",
    sources=sorted(glob("src/engine/*.c") + glob("src/binding/*.c")),
    depends=sorted(glob("src/engine/*.h") + glob("src/binding/*.h")),
    include_dirs=["src/engine"],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"],
    extra_link_args=["-pthread"],
)

setup(ext_modules=[engine] if sys.platform == "linux" else [])
