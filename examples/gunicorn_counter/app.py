"""A counter in a file, which all worker processes of gunicorn count up.

    GET /add      counts one more, and says how many there are now
    GET /total    says how many there are

COUNTER_LOCK chooses the lock, to see what becomes of the count under the standard library's: threading,
multiprocessing, or interlock (which is the default).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import interlock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from wsgiref.types import StartResponse, WSGIEnvironment

COUNTER = Path("counter.txt").absolute()
COUNTER.touch()


def make_lock(kind: str) -> AbstractContextManager[object]:
    match kind:
        case "threading":
            return threading.Lock()  # each worker has its own, or its own copy: it keeps no other worker out
        case "multiprocessing":
            return multiprocessing.Lock()  # shared if made before the workers are forked: by --preload, and only so
        case "interlock":
            return interlock.Lock("counter")  # whoever says the name has the lock, made before the fork or after it
    raise ValueError(f"COUNTER_LOCK={kind}: it is threading, multiprocessing or interlock")


lock = make_lock(os.environ.get("COUNTER_LOCK", "interlock"))


def add_one() -> int:
    # The file comes after the lock, so that it is closed, and with that written, before the lock is released.
    with lock, COUNTER.open("r+") as file:
        total = int(file.read() or 0) + 1
        time.sleep(0.001)  # in a real program there is some work here: the gap through which updates get lost
        file.seek(0)
        file.write(f"{total:12}\n")
    return total


def read_total() -> int:
    with lock:
        return int(COUNTER.read_text() or 0)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/add":
            status, text = "200 OK", f"{add_one()}\n"
        case "/total":
            status, text = "200 OK", f"{read_total()}\n"
        case _:
            status, text = "404 Not Found", "there is /add and /total\n"
    body = text.encode()
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
