"""The extension's tests under AddressSanitizer and UndefinedBehaviorSanitizer.

    python3 dev.py sanitize [pytest arguments]

Builds the extension once more, instrumented, beside a copy of the package, and runs the tests on that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]

LEFT_OUT = [
    "tests/process/test_gevent.py",  # greenlets copy stacks, which AddressSanitizer takes for an overflow
    # About the command line and programs in C: interpreters started by the hundred, and little of the extension.
    *(f"tests/process/test_{name}.py" for name in ("bench_verb", "c_places", "c_programs", "completion", "metrics_verb")),
    *(f"tests/process/test_{name}.py" for name in ("run", "run_mistakes", "run_signals", "top", "verbs_mistakes")),
    *(f"tests/unit/test_{name}.py" for name in ("layout", "manual")),
]


def build(home: Path) -> Path:
    """Makes the instrumented package below `home`. Returns the extension's file."""
    shutil.rmtree(home, ignore_errors=True)
    package = home / "interlock"
    shutil.copytree(ROOT / "src" / "interlock", package, ignore=shutil.ignore_patterns("_engine*.so", "__pycache__"))
    extension = package / f"_engine{sysconfig.get_config_var('EXT_SUFFIX')}"
    sources = sorted([*(ROOT / "src" / "engine").glob("*.c"), *(ROOT / "src" / "binding").glob("*.c")])
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-shared", "-pthread"]
    places = [f"-I{ROOT / 'src' / 'engine'}", "-isystem", sysconfig.get_paths()["include"]]
    subprocess.run(["gcc", *flags, *SANITIZE, *places, *sources, "-o", extension], check=True)
    return extension


def main() -> int:
    home = ROOT / "build" / f"sanitized-{sys.version_info.major}.{sys.version_info.minor}"
    extension = build(home)
    runtimes = [
        subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(home),
        "LD_PRELOAD": " ".join(runtimes),
        # Leaks: the interpreter's own are many, and it never frees everything. Signals: tests send them on purpose.
        "ASAN_OPTIONS": "detect_leaks=0:handle_sigbus=0:handle_abort=0:handle_segv=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }
    code = "import interlock._engine as e, sys; sys.exit(e.__file__ != sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(extension)], env=environment, check=True)
    tests = ["tests/unit", "tests/process", "tests/conformance", "tests/crash", *(f"--ignore={path}" for path in LEFT_OUT)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *tests, *sys.argv[1:]], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
