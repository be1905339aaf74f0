#!/usr/bin/env python3
"""The project's commands, each with all its set-up: needs Python 3.11 or newer, a C compiler and a package index.

    python3 dev.py selftest         prove on this machine what the library is for
    python3 dev.py test             run the tests
    python3 dev.py bench            compare with other locks (see benchmarks/)
    python3 dev.py docs             build the documentation, and say where it is
    python3 dev.py check            types and style
    python3 dev.py sanitize         the tests, on an extension built with the compiler's sanitizers

Everything after the command goes to it: `python3 dev.py test -k fork`. Set-up happens in a virtual environment of its own,
.venv-VERSION beside this file.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
COMMANDS = {
    "selftest": ([], ["-m", "interlock", "selftest"]),
    "test": (["test", "scenarios"], ["-m", "pytest"]),
    "bench": (["bench"], ["-m", "benchmarks"]),
    "docs": (["docs"], ["-m", "docs.build"]),
    "sanitize": (["test", "scenarios"], ["-m", "tests.sanitized"]),
    "check": (["test", "scenarios", "check"], ["-m", "tests.typing.check"]),
}


def fingerprint() -> str:
    """Changes whenever what was installed is no longer what the sources say."""
    digest = hashlib.sha256(repr((sys.version, str(ROOT))).encode())
    for path in sorted([*ROOT.glob("pyproject.toml"), *ROOT.glob("setup.py"), *ROOT.glob("src/**/*.[ch]")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def environment(extras: list[str]) -> Path:
    """The Python of a virtual environment in which interlock and the extras are installed."""
    home = ROOT / f".venv-{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = home / "bin" / "python", home / f"installed-{'-'.join(extras) or 'plain'}"
    wanted = fingerprint()
    if not stamp.exists() or stamp.read_text() != wanted:
        if not python.exists():
            venv.create(home, with_pip=True)
        what = f".[{','.join(extras)}]" if extras else "."
        print(f"Installing {what} into {home.name} …", file=sys.stderr, flush=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--editable", what]
        subprocess.run(pip, cwd=ROOT, check=True)
        for old in home.glob("installed-*"):
            if old.read_text() != wanted:
                old.unlink()
        stamp.write_text(wanted)
    return python


def main() -> int:
    if sys.version_info < (3, 11):
        print(f"interlock needs Python 3.11 or newer, this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    extras, command = COMMANDS[sys.argv[1]]
    try:
        python = environment(extras)
    except subprocess.CalledProcessError as error:
        print(
            "Set-up failed, see above. It needs a C compiler and Python's headers (Debian: build-essential python3-dev "
            "python3-venv) and a package index.",
            file=sys.stderr,
        )
        return error.returncode
    os.environ.pop("PYTHONPATH", None)
    return subprocess.run([python, *command, *sys.argv[2:]], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
