"""A counter in a file, counted up by threads in all processes of uWSGI.

    GET /run      starts a thread that counts to a hundred, and says in which process
    GET /total    says how far all have come: when none is running, a multiple of 100, or updates were lost
    GET /clear    starts again from 0

COUNTER_LOCK=multiprocessing takes the standard library's lock instead, to see what becomes of the count.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

from flask import Flask

import interlock

app = Flask(__name__)

COUNTER = Path("counter.txt").absolute()
COUNTER.touch()

if os.environ.get("COUNTER_LOCK") == "multiprocessing":
    # With --lazy-apps each process runs this line for itself, and so has a lock of its own.
    mutex = multiprocessing.Lock()
else:
    # Each process runs this line, too, and says the same name: it is the same lock, for threads and for processes.
    mutex = interlock.Lock("uwsgi-flask-counter")


def count_to_a_hundred() -> None:
    for _ in range(100):
        # The file comes after the lock, so that it is closed, and with that written, before the lock is released.
        with mutex, COUNTER.open("r+") as file:
            total = int(file.read() or 0)
            time.sleep(0.001)  # in a real program there is some work here: the gap through which updates get lost
            file.seek(0)
            file.write(f"{total + 1:12}\n")
    print("counted to a hundred", flush=True)


@app.get("/run")
def run() -> str:
    threading.Thread(target=count_to_a_hundred).start()
    return f"running in process {os.getpid()}\n"


@app.get("/total")
def total() -> str:
    with mutex:
        return f"{int(COUNTER.read_text() or 0)}\n"


@app.get("/clear")
def clear() -> str:
    with mutex:
        COUNTER.write_text(f"{0:12}\n")
    return "clear\n"
