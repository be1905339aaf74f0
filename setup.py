"""Builds the extension, and the libraries that programs in C link. Everything else is in pyproject.toml."""

import os
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

INCLUDE = ["src/engine"]
MACROS = [("_GNU_SOURCE", None)]
FLAGS = ["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]

# Elsewhere the package installs without its engine, imports, and says that shared-memory spaces need Linux.
engine = Extension(
    "interlock._engine",
    sources=sorted(glob("src/engine/*.c") + glob("src/binding/*.c")),
    depends=sorted(glob("src/engine/*.h") + glob("src/binding/*.h")),
    include_dirs=INCLUDE,
    define_macros=MACROS,
    extra_compile_args=FLAGS,
    extra_link_args=["-pthread"],
)


class Build(build_ext):
    """The extension, and beside it include/interlock.h, lib/libinterlock.so and lib/libinterlock.a."""

    def run(self) -> None:
        super().run()
        if self.extensions:
            package = os.path.join("src" if self.inplace else self.build_lib, "interlock")
            self.build_libraries(os.path.join(package, "lib"))
            self.mkpath(os.path.join(package, "include"))
            self.copy_file("src/capi/interlock.h", os.path.join(package, "include"))

    def build_libraries(self, directory: str) -> None:
        sources = sorted(glob("src/engine/*.c") + glob("src/capi/*.c"))
        shared, whole = os.path.join(directory, "libinterlock.so"), os.path.join(self.build_temp, "libinterlock.o")
        cc = [*self.compiler.compiler, "-fno-lto"]
        self.mkpath(directory)
        objects = self.compiler.compile(
            sources, os.path.join(self.build_temp, "capi"), MACROS, INCLUDE, extra_postargs=[*FLAGS, "-fno-lto"]
        )
        # nodelete: the library has handlers of forks and of SIGBUS, which must stay.
        self.spawn([*cc, "-shared", "-pthread", "-Wl,-soname,libinterlock.so,-z,nodelete", "-o", shared, *objects])
        # One object, in which what is hidden is local: no name of the engine can clash with a program's.
        self.spawn([*cc, "-r", "-nostdlib", "-o", whole, *objects])
        self.spawn([os.environ.get("OBJCOPY", "objcopy"), "--localize-hidden", whole])
        self.compiler.create_static_lib([whole], "interlock", directory)


setup(ext_modules=[engine] if sys.platform == "linux" else [], cmdclass={"build_ext": Build})
