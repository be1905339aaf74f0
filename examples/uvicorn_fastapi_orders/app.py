"""Order numbers without gaps or doubles, from a counter in a file, given by tasks in all worker processes of uvicorn.

    POST /orders    takes an order: its number, and the process that gave it
    GET /total      how many orders there are

COUNTER_LOCK=asyncio takes the standard library's lock instead, to see what becomes of the numbers.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI

import interlock

app = FastAPI()

COUNTER = Path("orders.txt").absolute()
COUNTER.touch()

# Each worker runs this line for itself and says the same name: it is the same lock, for the tasks of all of them.
lock: interlock.Lock | asyncio.Lock = interlock.Lock("orders")
if os.environ.get("COUNTER_LOCK") == "asyncio":
    lock = asyncio.Lock()  # each worker has its own: it keeps that worker's tasks apart, and no others


@app.post("/orders")
async def take_order() -> dict[str, int]:
    # The file comes after the lock, so that it is closed, and with that written, before the lock is released. It is written
    # over, not emptied first: a worker that is killed in between would leave the next one nothing to read.
    async with lock:
        with COUNTER.open("r+") as file:
            number = int(file.read() or 0) + 1
            await asyncio.sleep(0.001)  # in a real program a database is asked here: the gap through which updates get lost
            file.seek(0)
            file.write(f"{number:12}\n")
    return {"number": number, "process": os.getpid()}


@app.get("/total")
async def total() -> int:
    async with lock:
        return int(COUNTER.read_text() or 0)
