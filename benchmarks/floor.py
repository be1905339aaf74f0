"""Builds and runs floor.c: the same work without Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"word": "interlock's engine, in C", "robust": "robust pthread mutex, in C"}


class Floor:
    """The compiled program, in a scratch directory."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.program = scratch, scratch / "floor"
        engine = ROOT / "src" / "engine"
        sources = [ROOT / "benchmarks" / "floor.c", *sorted(engine.glob("*.c"))]
        compiler = os.environ.get("CC", "cc")
        flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread", f"-I{engine}"]
        subprocess.run([compiler, *flags, *sources, "-o", self.program], check=True)

    def run(self, kind: str, measure: str, *arguments: object) -> list[float]:
        command = [self.program, kind, measure, self.scratch, *map(str, arguments)]
        return [float(word) for word in subprocess.check_output(command, text=True, timeout=600).split()]
