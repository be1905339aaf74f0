"""Compares interlock with other locks, in one run on this machine.

    python3 dev.py bench [--scale S | --quick] [--only MEASURE ...] [--output DIRECTORY]

Prints Markdown tables; writes results.json, results.md and a PNG per measure to the output directory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import marks
from benchmarks.floor import Floor
from benchmarks.measures import MEASURES as LOCKS
from benchmarks.primitives import PRIMITIVES
from benchmarks.report import machine, plot, table
from benchmarks.tasks import TASK_MEASURES
from benchmarks.watching import WATCH_MEASURES

if TYPE_CHECKING:
    from benchmarks.measures import Rows

MEASURES = {**LOCKS, **PRIMITIVES, **TASK_MEASURES, **WATCH_MEASURES}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the work: 1 takes about ten minutes")
    parser.add_argument("--quick", dest="scale", action="store_const", const=0.1, help="shows that it runs, not how fast")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    home = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="interlock-bench-", dir=home))
    os.environ["INTERLOCK_DIR"] = str(scratch)
    os.environ.pop("INTERLOCK_SPACE", None)
    results: dict[str, Rows] = {}
    where = machine()
    written = [f"Measured on {where}."]
    print(written[0], flush=True)
    try:
        floor = Floor(scratch)
        for measure in given.only:
            print(f"\n({measure} …)", file=sys.stderr, flush=True)
            rows = MEASURES[measure](scratch, floor, given.scale)
            results[measure] = rows
            written.append(table(measure, rows))
            print(f"\n{written[-1]}", flush=True)
            plot(measure, rows, given.output / f"{measure}.png")
    finally:
        shutil.rmtree(scratch)
    written.append(marks.table(results))
    print(f"\n{written[-1]}", flush=True)
    report = {"machine": where, "scale": given.scale, "results": results}
    (given.output / "results.json").write_text(json.dumps(report, indent=2) + "\n")
    (given.output / "results.md").write_text("\n\n".join(written) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
