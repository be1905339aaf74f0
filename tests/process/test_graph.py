"""`interlock graph`: what is drawn of real waits and circles, as DOT and as SVG."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack

import pytest

import interlock
from tests.cli import INTERLOCK, cli, environment
from tests.pictures import Dot, Drawn, holds_of, waits_of
from tests.process.test_list import CONFUSING
from tests.process.test_run_mistakes import says
from tests.support import HANG_SECONDS, HOLDER, Program, sleeping, until

# Takes one lock, or none, and, told so, another one.
PARTY = """
    import interlock, sys
    has, wants = sys.argv[1:3]
    if has:
        lock = interlock.Lock(has)
        lock.acquire()
    print("has", flush=True)
    sys.stdin.readline()
    wanted = interlock.Lock(wants)
    wanted.acquire()
"""


def parties(stack, space, *pairs):
    """Programs that hold the first lock of a pair, if it is one, and wait for the second, when all of them do."""
    started = [stack.enter_context(Program(PARTY, *pair)) for pair in pairs]
    for each in started:
        assert each.line() == "has"
    for each in started:
        each.say()
    until(lambda: len(space.wait_graph()) == len(started))
    return [each.pid for each in started]


def drawn(*words):
    done = cli("graph", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def circle(names):
    return list(zip(names, (*names[1:], names[0]), strict=True))


def test_nobody_waits(space):
    with space.Lock("orders"):
        dot = Dot(drawn())
        assert (dot.boxes, dot.arrows) == ({}, [])
        assert dot.label[1].startswith("Nobody waits")
        svg = Drawn(drawn("--format", "svg"))
        assert svg.boxes == []
        assert "Nobody waits" in svg.texts
        assert svg.texts[0].startswith("shm:default   20")
        assert "deadlock" not in svg.texts


def test_waiters_of_a_lock(space):
    with ExitStack() as stack, Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        pids = parties(stack, space, *[("", "orders")] * 3)
        dot = Dot(drawn())
        assert waits_of(dot) == {(pid, "orders") for pid in pids}
        assert holds_of(dot) == {("orders", holder.pid)}
        assert dot.red == set()
        assert dot.label[1].startswith("3 wait for 1 object;")
        svg = Drawn(drawn("--format", "svg"))
        assert "3 wait for 1 object" in svg.texts
        assert ["orders", "Lock, 3 waiters"] in [svg.lines(box) for box in svg.boxes]
        assert len(svg.boxes) == 5
        assert svg.red == []
        assert svg.heads == ["head"] * 6  # four arrows, two of the legend


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_circle_is_red(count, space):
    names = [f"lock-{number}" for number in range(count)]
    with ExitStack() as stack, Program(HOLDER, "apart") as apart:
        assert apart.line() == "held"
        pairs = circle(names)
        pids = parties(stack, space, *pairs, ("", "lock-0"), ("", "apart"))
        dot = Dot(drawn())
        assert waits_of(dot) == {
            (pid, wants) for pid, (_, wants) in zip(pids, [*pairs, ("", "lock-0"), ("", "apart")], strict=True)
        }
        assert holds_of(dot) == {*zip(names, pids[:count], strict=True), ("apart", apart.pid)}
        assert len(dot.red) == 2 * count
        assert sum(arrow[3] for arrow in dot.arrows) == 2 * count
        assert f"{count + 2} wait for {count + 1} objects; 1 deadlock" in dot.label[1]
        svg = Drawn(drawn("--format", "svg"))
        assert {lines[0] for lines in svg.red if lines[1].startswith("Lock")} == {*names}
        assert len(svg.red) == 2 * count
        assert svg.heads.count("head alarm") == 2 * count + 1  # one of the legend
        assert svg.heads.count("head") == 3 + 2


def test_a_thread_that_waits_for_its_own_lock(space):
    with ExitStack() as stack:
        (pid,) = parties(stack, space, ("own", "own"))
        dot = Dot(drawn())
        assert waits_of(dot) == {(pid, "own")}
        assert holds_of(dot) == {("own", pid)}
        assert len(dot.red) == 2


def test_readers_in_a_circle(space):
    """That one of two reading processes is in the circle is known of its thread; the other one's is not known."""
    code = """
        import interlock, sys
        table, orders = interlock.RWLock("table"), interlock.Lock("orders")
        table.read.acquire()
        print("has", flush=True)
        sys.stdin.readline()
        orders.acquire()
    """
    writes = 'import interlock\nwith interlock.Lock("orders"):\n print("has", flush=True)\n input()\n'
    with (
        Program(code) as one,
        Program(code) as other,
        Program(f"{writes} interlock.RWLock('table').write.acquire()") as writer,
    ):
        assert [each.line() for each in (one, other, writer)] == ["has"] * 3
        writer.say()
        until(space.wait_graph)
        one.say()
        until(space.deadlocks)
        dot = Dot(drawn())
        assert {held for held in holds_of(dot) if held[0] == "table"} == {("table", one.pid), ("table", other.pid)}
        assert sum(lines[1].startswith(f"process {one.pid}") for lines in dot.boxes.values()) == 1
        assert len(dot.red) == 4


def test_tasks_of_one_thread_are_parties_of_their_own(space):
    code = """
        import asyncio, interlock
        first, second = interlock.RLock("first"), interlock.RLock("second")
        async def party(one, other, barrier):
            async with one:
                await barrier.wait()
                async with other:
                    pass
        async def main():
            barrier = asyncio.Barrier(2)
            await asyncio.gather(party(first, second, barrier), party(second, first, barrier))
        asyncio.run(main())
    """
    with Program(code):
        until(space.deadlocks)
        dot = Dot(drawn())
        assert len(dot.boxes) == len(dot.red) == 4
        assert sum("task" in lines[1] for lines in dot.boxes.values()) == 2


def test_tasks_that_want_what_only_processes_have(space):
    code = """
        import asyncio, interlock
        async def main():
            await asyncio.gather(*[interlock.Lock("orders").acquire_async() for _ in range(3)])
        asyncio.run(main())
    """
    with space.Lock("orders"), Program(code) as program:
        until(lambda: len(space.wait_graph()) == 3)
        dot = Dot(drawn())
        (lines,) = [lines for lines in dot.boxes.values() if str(program.pid) in lines[1]]
        assert lines[1] == f"process {program.pid}, some task"
        assert dot.label[1].startswith("3 wait for 1 object;")


def test_threads_are_told_apart(space):
    """By their names, as far as the kernel knows these, else by their numbers."""
    lock = space.Lock("orders")
    with lock:
        waiting = [sleeping(lock.acquire, timeout=HANG_SECONDS) for _ in range(2)]
        until(lambda: len(lock.waiters) == 2)
        with open(f"/proc/self/task/{waiting[0].native_id}/comm", "w") as name:
            name.write("sorter")
        lines = {lines[1] for lines in Dot(drawn()).boxes.values()}
    assert f"process {os.getpid()}, thread sorter"[:29] in {line[:29] for line in lines}
    assert f"process {os.getpid()}, thread {waiting[1].native_id}"[:29] in {line[:29] for line in lines}
    until(lambda: any(not task.is_alive() for task in waiting))
    lock.release()
    for task in waiting:
        task.result()


def test_many_waiters_are_counted(space):
    lock = space.Lock("orders")
    with lock:
        waiting = [sleeping(lock.acquire, timeout=HANG_SECONDS) for _ in range(30)]
        until(lambda: len(lock.waiters) == 30)
        dot = Dot(drawn())
    assert ["… and 6 more"] in dot.boxes.values()
    assert len(dot.boxes) == 24 + 3
    for _ in waiting:
        lock.release() if lock.locked() else None
        until(lambda: lock.locked() or not any(task.is_alive() for task in waiting))


def test_chosen_names(space):
    with ExitStack() as stack:
        pids = parties(stack, space, *circle(["left", "right"]), ("log", "left"), ("", "log"))
        with space.Lock("idle"), space.Lock("lone"):
            assert waits_of(Dot(drawn("log"))) == {(pids[3], "log")}
            assert {name for name, _ in holds_of(Dot(drawn("log", "idle")))} == {"log", "idle"}
            whole = Dot(drawn("left"))  # its circle, which goes through another name
            assert waits_of(whole) == {(pids[0], "right"), (pids[1], "left"), (pids[2], "left")}
            assert len(whole.red) == 4
            assert waits_of(Dot(drawn("--match", "l?g"))) == {(pids[3], "log")}
            assert holds_of(Dot(drawn("--match", "lon*"))) == {("lone", os.getpid())}
            assert Dot(drawn("--match", "none*")).boxes == {}
            assert {name for name, _ in holds_of(Dot(drawn("--held")))} == {"left", "right", "log", "idle", "lone"}
            assert {name for name, _ in holds_of(Dot(drawn()))} == {"left", "right", "log"}


def test_a_name_that_nobody_has_made(space, directory):
    assert "'none\\n' is no name" in says(cli("graph", "none\n", "-o", str(directory / "picture.svg")), 1)
    assert not (directory / "picture.svg").exists()
    assert "not UTF-8" in says(cli("graph", "none\udcff"), os.EX_USAGE)


HOSTILE = [*CONFUSING[:5], 'quo"te\\', "\\", "<b>&amp;</b>", "x" * 255, "]]>", "\\n", "{|}"]


def test_hostile_names_and_programs(space):
    names = [*HOSTILE]
    with ExitStack() as stack:
        parties(stack, space, *[(*pair, '--"<evil>&\x1b[2J\\') for pair in circle(names)])
        dot = drawn()
        assert {wants for _, wants in waits_of(Dot(dot))} == {shown(name) for name in names}
        svg = drawn("--format", "svg")
        assert {lines[0] for lines in Drawn(svg).red if lines[1].startswith("Lock")} == {shown(name) for name in names}
    titles = [box[0].text for box in Drawn(svg).boxes]
    assert "x" * 255 in titles  # cut short in its box, whole here
    for text in (dot, svg):
        assert all(line.isprintable() for line in text.split("\n"))


def shown(name):
    """As a box shows it: harmless, and cut short."""
    from interlock.cli import plain

    text = plain(name)
    return text if len(text) <= 32 else f"{text[:31]}…"


def test_to_a_file(space, directory):
    for name, begins in (("a.dot", "digraph"), ("a.gv", "digraph"), ("a.SVG", "<svg"), ("a.txt", "digraph")):
        assert drawn("-o", str(directory / name)) == ""
        assert (directory / name).read_text().startswith(begins)
    assert drawn("-o", str(directory / "b.dot"), "--format", "svg") == ""
    assert (directory / "b.dot").read_text().startswith("<svg")
    assert drawn("-o", "-").startswith("digraph")
    for path in (str(directory / "none" / "a.svg"), str(directory)):
        assert "cannot write" in says(cli("graph", "-o", path), os.EX_CANTCREAT)
    assert "cannot write '/dev/full'" in says(cli("graph", "-o", "/dev/full"), os.EX_CANTCREAT)


def test_a_reader_that_goes(space):
    """More than a pipe holds, of which one line is read: it ends as other tools do, and says nothing."""
    locks = [space.Lock(f"{number:0200}") for number in range(1000)]
    for lock in locks:
        lock.acquire()
    with subprocess.Popen(
        [*INTERLOCK, "graph", "--held"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as drawing:
        assert drawing.stdout.readline().startswith("digraph")
        drawing.stdout.close()
        assert drawing.stderr.read() == ""
        assert drawing.wait(HANG_SECONDS) == -13


def test_nowhere_to_write(space):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *INTERLOCK, "graph"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == os.EX_IOERR
    assert done.stderr.startswith("interlock: cannot write to stdout: ")


def test_another_space(directory, space):
    other = interlock.Space("shm:other place")
    with other.Lock("there"):
        assert holds_of(Dot(drawn("--held", "--space", "shm:other place"))) == {("there", os.getpid())}
        assert Dot(drawn("--held")).boxes == {}
