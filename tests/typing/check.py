"""Types and style of the package: mypy and pyright strict, the extension's stub against the extension, ruff.

python3 dev.py check
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "mypy, what users see": ["mypy", "--strict", "tests/typing/reveal.py"],
    "stubtest": ["mypy.stubtest", "interlock._engine", "--ignore-missing-stub"],
    "pyright": ["pyright", "--warnings", "--pythonpath", sys.executable],
}


def main() -> int:
    failed = []
    for title, command in CHECKS.items():
        print(f"--- {title}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False).returncode != 0:
            failed.append(title)
    print(f"failed: {', '.join(failed)}" if failed else "types and style: all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
