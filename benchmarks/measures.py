"""What is measured. Every measure takes turns between the locks where it can, so that a noisy moment hits them alike."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from timeit import Timer
from typing import TYPE_CHECKING, Any

from benchmarks.floor import KINDS
from benchmarks.peers import PEERS, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.floor import Floor

Rows = dict[str, dict[str, float]]  # lock -> column -> figure
FORK = multiprocessing.get_context("fork")


def medians(samples: dict[str, dict[str, list[float]]]) -> Rows:
    return {lock: {column: statistics.median(values) for column, values in row.items()} for lock, row in samples.items()}


def uncontended(scratch: Path, floor: Floor, scale: float) -> Rows:
    """Nanoseconds of `with lock: pass` and of acquire() and release(), less an empty loop's."""
    shared = {peer.name: peer.share(scratch) for peer in PEERS}
    locks = {name: share.open() for name, share in shared.items()}
    samples: dict[str, dict[str, list[float]]] = {}
    calls = {}
    for name, lock in locks.items():
        once = Timer("lock.acquire(); lock.release()", globals={"lock": lock}).timeit(50) / 50
        calls[name] = max(20, min(200_000, int(0.02 * scale / once)))
    for _ in range(max(3, int(15 * scale))):
        for name, lock in locks.items():
            number = calls[name]
            empty = Timer("pass").timeit(number)
            for column, statement in {
                "with_ns": "with lock: pass",
                "pair_ns": "lock.acquire(); lock.release()",
            }.items():
                spent = Timer(statement, globals={"lock": lock}).timeit(number) - empty
                samples.setdefault(name, {}).setdefault(column, []).append(spent / number * 1e9)
        for kind, title in KINDS.items():
            figure = floor.run(kind, "pair", 200_000)[0]
            samples.setdefault(title, {}).setdefault("pair_ns", []).append(figure)
    locks.clear()
    for share in shared.values():
        share.remove()
    return medians(samples)


def _increment(lock: Callable[[], Any], memory: mmap.mmap, seconds: float, start: Any) -> None:
    words, mine = memoryview(memory).cast("q"), lock()
    start.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            with mine:
                words[0] += 1


def _in_processes(count: int, target: Callable[..., None], *args: Any) -> None:
    start = FORK.Barrier(count)
    children = [FORK.Process(target=target, args=(*args, start)) for _ in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join()


def contended(scratch: Path, floor: Floor, scale: float) -> Rows:
    """Increments a second of one counter, by 2 to 64 processes at once."""
    samples: dict[str, dict[str, list[float]]] = {}
    seconds = 0.5 * scale
    for _ in range(3 if scale >= 0.5 else 1):
        for count in (2, 4, 8, 16, 64):
            for peer in PEERS:
                if not peer.processes:
                    continue
                shared, memory = peer.share(scratch), mmap.mmap(-1, mmap.PAGESIZE)
                began = time.monotonic()
                _in_processes(count, _increment, shared.open, memory, seconds)
                spent = max(seconds, time.monotonic() - began - 0.05)
                shared.remove()
                total = memoryview(memory).cast("q")[0]
                samples.setdefault(peer.name, {}).setdefault(f"rate_{count}", []).append(total / spent)
            for kind, title in KINDS.items():
                figure = floor.run(kind, "rate", count, int(seconds * 1000))[0]
                samples.setdefault(title, {}).setdefault(f"rate_{count}", []).append(figure)
    return medians(samples)


def _hand_over(lock: Callable[[], Any], memory: mmap.mmap, rounds: int, results: Any, start: Any) -> None:
    words, mine = memoryview(memory).cast("q"), lock()
    seen = []
    start.wait()
    for _ in range(rounds):
        mine.acquire()
        now = time.monotonic_ns()
        if words[0] and words[1] != os.getpid():
            seen.append((now - words[0]) / 1e3)
        time.sleep(0.002)  # long enough for the other to be asleep
        words[1] = os.getpid()
        words[0] = time.monotonic_ns()
        mine.release()
        time.sleep(0.0005)
    results.put(seen)


def handoff(scratch: Path, _: Floor, scale: float) -> Rows:
    """Microseconds from one process's release to the return of another's acquire, which was asleep."""
    rows: Rows = {}
    for peer in PEERS:
        if not peer.processes:
            continue
        shared, memory, results = peer.share(scratch), mmap.mmap(-1, mmap.PAGESIZE), FORK.SimpleQueue()
        _in_processes(2, _hand_over, shared.open, memory, int(300 * scale), results)
        shared.remove()
        seen = sorted(results.get() + results.get())
        rows[peer.name] = {"median_us": statistics.median(seen), "p99_us": seen[int(len(seen) * 0.99)]}
    return rows


def _take_turns(lock: Callable[[], Any], seconds: float, results: Any, start: Any) -> None:
    mine, turns, longest = lock(), 0, 0.0
    start.wait()
    end = time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        with mine:
            now = time.monotonic()
            longest, turns = max(longest, now - before), turns + 1
            while time.monotonic() < now + 0.001:
                pass
    results.put((turns, longest))


def fairness(scratch: Path, _: Floor, scale: float) -> Rows:
    """Turns of 8 processes that hold the lock for 1 ms each: least by most, and the longest wait in ms."""
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(3 if scale >= 0.5 else 1):
        for peer in PEERS:
            if not peer.processes:
                continue
            shared, results = peer.share(scratch), FORK.SimpleQueue()
            _in_processes(8, _take_turns, shared.open, 5 * scale, results)
            shared.remove()
            turns, waits = zip(*(results.get() for _ in range(8)), strict=True)
            row = samples.setdefault(peer.name, {})
            row.setdefault("least_by_most", []).append(min(turns) / max(turns))
            row.setdefault("longest_ms", []).append(max(waits) * 1e3)
    return medians(samples)


def _hold(lock: Callable[[], Any], ready: Any) -> None:
    mine = lock()
    mine.acquire()
    ready.set()
    time.sleep(600)


def _wait(lock: Callable[[], Any], stamp: mmap.mmap) -> None:
    mine = lock()
    mine.acquire()
    memoryview(stamp).cast("q")[0] = time.monotonic_ns()
    mine.release()


def recovery(scratch: Path, floor: Floor, scale: float) -> Rows:
    """Milliseconds from SIGKILL of the holder until a sleeping waiter has the lock."""
    rows: Rows = {}
    rounds = max(5, int(100 * scale))

    def note(name: str, waits: list[float]) -> None:
        waits.sort()
        rows[name] = {"median_ms": statistics.median(waits), "p99_ms": waits[int(len(waits) * 0.99)]}

    for peer in PEERS:
        if not (peer.processes and peer.recovers):
            continue
        waits = []
        for number in range(rounds):
            shared, stamp, ready = peer.share(scratch), mmap.mmap(-1, mmap.PAGESIZE), FORK.Event()
            holder = FORK.Process(target=_hold, args=(shared.open, ready))
            holder.start()
            ready.wait()
            waiter = FORK.Process(target=_wait, args=(shared.open, stamp))
            waiter.start()
            time.sleep(0.05 + 0.01 * (number % 7))
            before = time.monotonic_ns()
            os.kill(holder.pid, signal.SIGKILL)
            waiter.join()
            holder.join()
            shared.remove()
            waits.append((memoryview(stamp).cast("q")[0] - before) / 1e6)
        note(peer.name, waits)
    for kind, title in KINDS.items():
        note(title, floor.run(kind, "recover", rounds))
    return rows


def _open_many(peer: Peer, scratch: Path, count: int) -> float:
    """Microseconds to open, lock, release and let go of one of `count` different locks."""
    if peer.name.startswith("interlock"):
        import interlock

        kind = getattr(interlock, peer.name.partition(".")[2])
        before = time.perf_counter()
        for number in range(count):
            with kind(f"{peer.name}-{number}"):
                pass
        return (time.perf_counter() - before) / count * 1e6
    shares = [peer.share(scratch) for _ in range(count)]
    before = time.perf_counter()
    for share in shares:
        with share.open():
            pass
    spent = time.perf_counter() - before
    for share in shares:
        share.remove()
    return spent / count * 1e6


def names(scratch: Path, _: Floor, scale: float) -> Rows:
    """Microseconds per different name: opened, locked once, released. A million of them for interlock."""
    return {
        peer.name: {
            "us": _open_many(peer, scratch, int((1_000_000 if peer.name.startswith("interlock") else 1000) * scale))
        }
        for peer in PEERS
        if peer.named and "sysv" not in peer.name  # the kernel has room for a few thousand of those in all
    }


_REMEMBER = """
import os, sys
import interlock
for number in range(int(sys.argv[1])):
    with interlock.Lock(f"once-{number}"):
        pass
# Not getrusage's, which goes on with that of the program before exec.
with open("/proc/self/status") as status:
    largest = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))  # KiB, shared memory included
print(largest * 1024 / 1e6, os.stat(interlock.Space().path).st_blocks * 512 / 1e6)
"""


def memory(_: Path, __: Floor, ___: float) -> Rows:
    """Megabytes of a fresh interpreter and of the space's file after a million and after twenty million different names,
    each locked and released once: never scaled."""
    rows: Rows = {}
    for millions in (1, 20):
        command = [sys.executable, "-c", _REMEMBER, str(millions * 1_000_000)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        resident, file = map(float, ended.stdout.split())
        rows[f"interlock.Lock, {millions} million names"] = {"resident_mb": resident, "file_mb": file}
    return rows


def _sleep_on(lock: Callable[[int], Any], first: int, threads: int, start: Any) -> None:
    def wait(number: int) -> None:
        lock(number).acquire(timeout=60)

    for number in range(first, first + threads):
        threading.Thread(target=wait, args=(number,), daemon=True).start()
    start.wait()
    time.sleep(60)


def sleepers(scratch: Path, _: Floor, scale: float) -> Rows:
    """Per cent of one core that 1,000 waiters use, 50 threads in each of 20 processes: on one lock, and on a lock each."""
    import interlock

    processes, threads, seconds = 20, 50, max(2.0, 10 * scale)
    held = [interlock.Lock(f"slept-on-{number}") for number in range(processes * threads)]
    for lock in held:
        lock.acquire()

    def used(children: list[Any]) -> float:
        ticks = 0
        for child in children:
            with open(f"/proc/{child.pid}/stat") as stat:
                ticks += sum(int(word) for word in stat.read().rpartition(")")[2].split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    rows: Rows = {}
    for title, name in {"on one lock": lambda _: "slept-on-0", "on 1,000 locks": "slept-on-{}".format}.items():
        start = FORK.Barrier(processes + 1)

        def lock(number: int, name: Callable[[int], str] = name) -> Any:
            return interlock.Lock(name(number))

        children = [
            FORK.Process(target=_sleep_on, args=(lock, index * threads, threads, start)) for index in range(processes)
        ]
        for child in children:
            child.start()
        start.wait()
        time.sleep(2)
        before = used(children)
        time.sleep(seconds)
        rows[f"interlock.Lock, 1,000 waiters {title}"] = {"cpu_percent": (used(children) - before) / seconds * 100}
        for child in children:
            child.kill()
            child.join()
    for lock in held:
        lock.release()
    return rows


def imports(_: Path, __: Floor, scale: float) -> Rows:
    """Milliseconds of an import in a fresh interpreter, less the interpreter's own start."""
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(5, int(25 * scale))):
        spent = {}
        for module in ("sys", "interlock", "multiprocessing.synchronize", "threading"):
            before = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            spent[module] = (time.perf_counter() - before) * 1e3
        for module in list(spent)[1:]:
            samples.setdefault(module, {}).setdefault("import_ms", []).append(spent[module] - spent["sys"])
    return medians(samples)


INTERLOCK = str(Path(__file__).parents[1] / "bin" / "interlock")


def _command(argv: list[str]) -> float:
    """Milliseconds that a command takes, start to end. What it prints goes nowhere."""
    # Compiled before, as pip does it for what it installs.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    before = time.perf_counter()
    child = os.posix_spawnp(argv[0], argv, environment, file_actions=nowhere)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"failed: {argv}")
    return (time.perf_counter() - before) * 1e3


def commands(scratch: Path, _: Floor, scale: float) -> Rows:
    """Milliseconds of `true` under a lock, start to end, and of the interpreter's bare start; and, round by round, what
    `interlock run` takes by the time of that start and two flocks together."""
    python = sys.executable
    argvs = {
        "python -c pass": [python, "-c", "pass"],
        "flock FILE true": ["flock", str(scratch / "flock"), "true"],
        "interlock run NAME true": [python, INTERLOCK, "run", "bench", "true"],
        "interlock run -s NAME true": [python, INTERLOCK, "run", "-s", "bench-shared", "true"],
        "interlock run --slots 4 NAME true": [python, INTERLOCK, "run", "--slots", "4", "bench-slots", "true"],
        "python -m interlock run NAME true": [python, "-m", "interlock", "run", "bench", "true"],
    }
    for argv in argvs.values():
        _command(argv)
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(20, int(200 * scale))):
        this = {title: _command(argv) for title, argv in argvs.items()}
        for title, value in this.items():
            samples.setdefault(title, {}).setdefault("command_ms", []).append(value)
            if "interlock" in title:
                bound = this["python -c pass"] + 2 * this["flock FILE true"]
                samples[title].setdefault("by_bound", []).append(value / bound)
    return medians(samples)


_NAME = """
import sys
import interlock
space = interlock.Space("shm:bench-listing")
for number in range(int(sys.argv[1])):
    space.Event(f"name-{number:06}").set()
"""


def listing(_: Path, __: Floor, scale: float) -> Rows:
    """Milliseconds of `interlock list`, start to end, in a space with a hundred thousand names: never fewer."""
    python, space = sys.executable, "shm:bench-listing"
    _command([python, "-c", _NAME, "100000"])
    argvs = {
        f"interlock list{option}": [python, INTERLOCK, "list", *option.split(), "--space", space]
        for option in ("", " --json")
    }
    samples: dict[str, dict[str, list[float]]] = {}
    for _round in range(max(5, int(20 * scale))):
        for title, argv in argvs.items():
            samples.setdefault(f"{title}, 100,000 names", {}).setdefault("command_ms", []).append(_command(argv))
    return medians(samples)


MEASURES = {
    "uncontended": uncontended,
    "contended": contended,
    "handoff": handoff,
    "fairness": fairness,
    "recovery": recovery,
    "names": names,
    "memory": memory,
    "sleepers": sleepers,
    "imports": imports,
    "commands": commands,
    "listing": listing,
}
