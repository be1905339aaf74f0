"""Workers of a Pool fill one array in shared memory, and count what they have done.

    python shared_array.py [fork | spawn | forkserver]

multiprocessing.Array cannot be an argument of Pool.map; interlock's can, under every start method. What the workers write
is there for everybody at once: nothing is sent back.
"""

from __future__ import annotations

import sys
from functools import partial
from multiprocessing import get_context

import interlock

ROWS, COLUMNS = 64, 1000


def fill_row(grid: interlock.Array, done: interlock.Value, slowest: interlock.Value, row: int) -> None:
    # Each worker has rows of its own, so it needs no lock to write them: the memory itself, as doubles.
    cells = memoryview(grid).cast("B").cast("d")
    for column in range(COLUMNS):
        cells[row * COLUMNS + column] = row * column
    done.add()  # one indivisible step
    with slowest:  # two steps that belong together: under the Value's lock
        slowest.value = max(slowest.value, row)


def main(start_method: str | None = None) -> None:
    grid = interlock.Array(None, "d", ROWS * COLUMNS)
    done, slowest = interlock.Value(None, "i"), interlock.Value(None, "i")
    with get_context(start_method).Pool(4) as pool:
        pool.map(partial(fill_row, grid, done, slowest), range(ROWS))
    wrong = sum(grid[row * COLUMNS + column] != row * column for row in range(ROWS) for column in range(0, COLUMNS, 99))
    print(f"{done.value} rows filled, the last of them {slowest.value}, {wrong} cells wrong")


if __name__ == "__main__":
    main(*sys.argv[1:])
