"""Value and Array between processes: sums, arguments, deaths, and what is left of them."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import pickle
import select
import signal
import sys

import numpy
import pytest

import interlock
from tests.ctypes_types import Point
from tests.support import HANG_SECONDS, Program, Task, asleep, data_files, in_child, sleeping, until

METHODS = ["fork", "spawn", "forkserver"]
ROUNDS = 2000

COUNTER = """
    import interlock, sys
    locked, added = interlock.Value("locked", "q"), interlock.Value("added", "q")
    row, given = interlock.Array("row", "i", 4), interlock.Value("given", "d", lock=interlock.Lock("given lock"))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[1])):
        with locked:
            locked.value += 1
        added.add(3)
        added.add(-1)
        with row:
            row[number % 4] += 1
        with given.get_lock():
            given.get_obj().value += 0.5
"""


def test_unrelated_programs_count(space):
    """All totals are exact: under a lock of the object's own, under a given one, and in single steps."""
    programs = [Program(COUNTER, ROUNDS) for _ in range(3)]
    try:
        assert [program.line() for program in programs] == ["ready"] * 3
        for program in programs:
            program.say()
        assert [program.end() for program in programs] == [(0, "", "")] * 3
    finally:
        for program in programs:
            program.__exit__()
    assert space.Value("locked", "q").value == 3 * ROUNDS
    assert space.Value("added", "q").value == 3 * ROUNDS * 2
    assert space.Array("row", "i", 4)[:] == [3 * ROUNDS // 4] * 4
    assert space.Value("given", "d", lock=space.Lock("given lock")).value == 3 * ROUNDS / 2


def add_many(value, start, repeats):
    start.wait(HANG_SECONDS)
    for _ in range(repeats):
        value.add(3)
        value.add(-2)


def test_single_steps_meet(space):
    """Nothing but additions, for as long as it takes them to meet."""
    value, start, repeats = space.Value(None, "q"), space.Barrier(parties=3), 100_000
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=add_many, args=(value, start, repeats)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(HANG_SECONDS)
        assert child.exitcode == 0
    assert value.value == 3 * repeats


def test_the_content_outlives_the_programs(space):
    maker = "import interlock; interlock.Array('x', 'd', [1, 2]); interlock.Value('y', 'i', 7)"
    reader = "import interlock; print(interlock.Array('x', 'd', 2)[:], interlock.Value('y', 'i').add())"
    with Program(maker) as program:
        assert program.end() == (0, "", "")
    with Program(reader) as program:
        assert program.end() == (0, "[1.0, 2.0] 8\n", "")
    assert space.Value("y", "i").value == 8


@pytest.mark.parametrize("second", ["interlock.Value('x', 'd')", "interlock.Array('x', 'i', 1)", "interlock.Lock('x')"])
def test_another_program_wants_something_else(space, second):
    kept = space.Value("x", "i", 3)
    with Program(f"import interlock\ntry: {second}\nexcept Exception as error: print(type(error).__name__)") as program:
        assert program.end()[1].strip() == ("ParameterMismatch" if "'d'" in second else "KindMismatch")
    assert kept.value == 3


# --- multiprocessing ---


def use(value, point, row, raw, log):
    """What a child does with what it was given."""
    for _ in range(100):
        with value:
            value.value += 1
        with point.get_lock():
            point.x += 1
        with row:
            row[-1] += 1
    numpy.frombuffer(raw, "d")[:] += 1
    log.put((row[:], value.owner is None))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("named", [False, True])
def test_arguments_of_a_process(space, method, named):
    def name(text):
        return text if named else None

    value, point = space.Value(name("v"), "i"), space.Value(name("p"), Point, lock=space.RLock(name("l")))
    row, raw = space.Array(name("a"), "h", [1, 2, 3]), space.Array(name("r"), "d", 3, lock=False)
    context = multiprocessing.get_context(method)
    log = context.SimpleQueue()
    children = [context.Process(target=use, args=(value, point, row, raw, log)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(HANG_SECONDS)
        assert child.exitcode == 0
    assert log.get()[1] is True
    assert (value.value, point.x, row[:]) == (200, 200, [1, 2, 203])
    assert 1 <= raw[1] <= 2  # without a lock, two additions may be one
    del value, point, row, raw, children, child
    gc.collect()
    if named:
        assert len(data_files(space)) == 4
        for text in "vpar":
            space.unlink(text)
        assert data_files(space) == []


def add_up(argument):
    value, table, number = argument
    with table:
        table[number % 2][1] += 1
    return value.add(number)


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_a_pool(space, method):
    value, table = space.Value(None, "q"), space.Array(None, ctypes.c_int * 3, 2)
    with multiprocessing.get_context(method).Pool(2) as pool:
        sums = pool.map(add_up, [(value, table, number) for number in range(50)], chunksize=3)
    assert value.value == max(sums) == sum(range(50))
    assert len(set(sums[1:])) == 49  # each sum was seen once: no two additions were one
    assert [list(row) for row in table] == [[0, 25, 0], [0, 25, 0]]


def test_an_anonymous_one_travels_by_pickle(space):
    value = space.Value(None, Point, 3, 4)
    reader = """
        import pickle, sys
        from tests.ctypes_types import Point
        value = pickle.loads(bytes.fromhex(sys.argv[1]))
        with value:
            value.x += 1
            print(value.x, value.y, type(value.get_obj()) is Point, flush=True)
            sys.stdin.readline()
    """
    with Program(reader, pickle.dumps(value).hex(), env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as program:
        assert program.line() == "4 4.0 True"
        assert not value.acquire(blocking=False)
        assert value.owner.pid == program.pid
        program.say()
        assert program.end()[0] == 0
    assert value.x == 4


# --- deaths ---

HOLDER = """
    import interlock, sys
    kind = sys.argv[1]
    data = interlock.Value("x", "q", 5) if kind == "Value" else interlock.Array("x", "q", [5])
    content = data.get_obj()
    with data:
        if kind == "Value":
            content.value += 1
        else:
            content[0] += 1
        print("half", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("kind", ["Value", "Array"])
@pytest.mark.parametrize("waiting", [False, True])
def test_the_holder_is_killed(space, kind, waiting):
    """The next one gets it, is told, and finds what was left half done."""
    with Program(HOLDER, kind) as holder:
        holder.line()
        data = space.Value("x", "q") if kind == "Value" else space.Array("x", "q", 1)
        assert data.owner.pid == holder.pid
        assert not data.acquire(blocking=False)

        def take():
            with data:
                return data.recovered.pid, data.get_obj()[0] if kind == "Array" else data.get_obj().value

        if waiting:
            task = sleeping(take)
            holder.kill()
            assert task.result() == (holder.pid, 6)
        else:
            holder.kill()
            assert take() == (holder.pid, 6)
    with data:
        assert data.recovered is None
        assert data.statistics().recoveries == 1


def test_reading_goes_on_after_the_holders_death(space):
    with Program(HOLDER, "Value") as holder:
        holder.line()
        value = space.Value("x", "q")
        task = sleeping(lambda: value.value)
        assert value.add(10) == 16  # that one needs no lock
        holder.kill()
        assert task.result() == 16
    assert not value.locked()


def test_a_killed_child_that_held_a_given_lock(space):
    value = space.Value(None, "q", lock=space.Lock())
    pid = os.fork()
    if pid == 0:
        value.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert value.acquire(timeout=HANG_SECONDS)
    assert value.get_lock().recovered.pid == pid
    value.release()


MAKER = """
    import interlock, os, pickle, signal, sys
    kept = [interlock.Value(None, "i", 1), interlock.Array(None, "d", 10), interlock.Value(None, "q", lock=False)]
    how = sys.argv[1]
    if "pickled" in how:
        data = pickle.dumps(kept)
    named = interlock.Value("named", "i", 3)
    if "child" in how and os.fork() == 0:
        for stream in range(3):
            os.close(stream)
        signal.pause()
    print("made", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["", "pickled"])
def test_files_of_a_killed_maker_are_removed(space, how):
    """By the next program that makes data in the space; named ones stay."""
    with Program(MAKER, how) as maker:
        maker.line()
        assert len(data_files(space)) == 4
        with Program("import interlock; interlock.Value('other', 'i')") as other:
            assert other.end()[0] == 0
        assert len(data_files(space)) == 5  # its maker lives
        maker.kill()
    assert len(data_files(space)) == 5
    with Program("import interlock; interlock.Value('another', 'i')") as other:
        assert other.end()[0] == 0
    assert len(data_files(space)) == 3
    assert sorted(info.name for info in space.objects()) == ["another", "named", "other"]
    assert space.Value("named", "i").value == 3


def test_files_of_a_killed_maker_stay_while_somebody_uses_them(space):
    maker = """
        import interlock, pickle, sys
        value = interlock.Value(None, "i", 3)
        print(pickle.dumps(value).hex(), flush=True)
        sys.stdin.readline()
    """
    with Program(maker) as program:
        copy = pickle.loads(bytes.fromhex(program.line()))
        program.kill()
    other = "import interlock; interlock.Value(None, 'i').add()"
    with Program(other) as program:
        assert program.end()[0] == 0
    assert copy.add() == 4
    assert len(data_files(space)) == 1
    name = copy.name
    assert pickle.loads(pickle.dumps(copy)).add() == 5
    del copy
    gc.collect()
    with Program(other) as program:
        assert program.end()[0] == 0
    assert data_files(space) == []
    assert name not in {info.name for info in space.objects()}


def test_files_of_an_earlier_space_of_that_name_are_removed(directory):
    """Whoever wiped the space's file left its data; the new space does not take it for its own."""
    with Program("import interlock; interlock.Value('x', 'i', 3); interlock.Array('y', 'b', 9)") as program:
        assert program.end()[0] == 0
    (path,) = directory.glob("*.ilk")
    path.unlink()
    assert len(list(directory.iterdir())) == 2
    with Program("import interlock; print(interlock.Value('x', 'i', 4).value)") as program:
        assert program.end()[:2] == (0, "4\n")
    assert len(list(directory.iterdir())) == 2


def test_files_that_are_not_ours_are_let_be(space, directory):
    path = os.path.basename(space.path)
    for name in (f"{path}.backup", f"{path}.0123456789abcdef-0123456789abcdefg", f"{path}.-", "interlock.0-0"):
        (directory / name).write_text("precious")
    with Program("import interlock; interlock.Value(None, 'i')") as program:
        assert program.end()[0] == 0
    assert len([file for file in directory.iterdir() if file.read_bytes() == b"precious"]) == 4


def test_a_child_keeps_the_data_while_its_parent_goes(space):
    """An anonymous object of a parent that is killed: its child goes on, and a sweep takes nothing from it."""
    code = """
        import interlock, os, sys
        value, row = interlock.Value(None, "i", 3), interlock.Array(None, "d", [0.5])
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            for line in sys.stdin:
                with value:
                    value.value += 1
                print(value.add(10), row[0], len(row), flush=True)
            os._exit(0)
        os.wait()
    """
    with Program(code) as program:
        child = os.pidfd_open(int(program.line()))
        program.process.kill()
        program.process.wait()
        with Program("import interlock; interlock.Value(None, 'i')") as other:
            assert other.end()[0] == 0
        assert len(data_files(space)) == 2
        for number in (14, 25):
            program.say("go on")
            assert program.line() == f"{number} 0.5 1"
    ended(child)
    with Program("import interlock; interlock.Value(None, 'i')") as other:
        assert other.end()[0] == 0
    assert data_files(space) == []


def maps_data(pid, space):
    try:
        with open(f"/proc/{pid}/maps") as maps:
            return space.path + "." in maps.read()
    except OSError:
        return False


def ended(pidfd):
    """Waits until the kernel has taken the process apart. What it mapped goes before the locks on what it mapped."""
    assert select.select([pidfd], [], [], HANG_SECONDS)[0]
    os.close(pidfd)


def users(space):
    """The processes that map data of the space."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if maps_data(pid, space)]


def test_unlink_is_refused_while_a_child_has_it(space):
    with Program(MAKER, "child") as maker:
        maker.line()
        maker.say()
        assert maker.end() == (0, "", "")  # of the maker alone: the child has closed its streams
        with pytest.raises(RuntimeError, match=r"'named' is in use.*a process has its data"):
            space.unlink("named")
        (child,) = map(os.pidfd_open, users(space))
        signal.pidfd_send_signal(child, signal.SIGKILL)  # nobody else waits for it
        ended(child)
    space.unlink("named")


# --- ends in good order ---

ENDS = {
    "the end": "",
    "sys.exit": "sys.exit(0)",
    "an error": "raise SystemExit from ArithmeticError()",
    "sys.exit in a function": "(lambda: sys.exit(0))()",
    "atexit": "import atexit; atexit.register(lambda: kept.append(interlock.Value(None, 'i')))",
    "a daemon thread": "threading.Thread(target=lambda: [kept[0].add() for _ in iter(int, 1)], daemon=True).start()",
    "views": "import numpy; views = [memoryview(kept[0]), numpy.frombuffer(kept[1]), kept[2].get_obj()]",
    "a cycle": "kept.append(kept); gc.disable()",
    "held": "kept[0].acquire()",
    "never freed": "import ctypes; [ctypes.pythonapi.Py_IncRef(ctypes.py_object(name)) for name in [*kept, *copies]]",
    "a fork": "os.fork() or os._exit(0); os.wait()",
    "a fork that ends": "if os.fork() == 0: kept[0].add(); sys.exit(0)\nassert os.wait()[1] == 0",
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pickled", [False, True])
def test_an_ordinary_end_leaves_no_file(space, end, pickled):
    code = f"""
import gc, interlock, os, pickle, sys, threading
kept = [interlock.Value(None, "i", 1), interlock.Array(None, "d", [0.5]), interlock.Value(None, "q", lock=interlock.Lock())]
copies = pickle.loads(pickle.dumps(kept)) if {pickled} else []
print(len(kept), flush=True)
{ENDS[end]}
"""
    with Program(code) as program:
        assert program.line() == "3"
        assert program.end() == (0, "", "")
    assert data_files(space) == []
    assert "Value" not in {info.kind for info in space.objects()}


def make_and_return(queue, value):
    """A child that makes data of its own and uses that of its parent."""
    own = interlock.Value(None, "i", 3, space=value.space)
    pickle.dumps(own)
    value.add(own.value)
    queue.put(len(data_files(value.space)))


@pytest.mark.parametrize("method", METHODS)
def test_children_of_multiprocessing_leave_no_file(space, method):
    """Those that were forked end without the interpreter's end: what they gave away, the next program removes."""
    code = f"""
        import interlock, multiprocessing
        from tests.process.test_shared_data import make_and_return
        if __name__ == "__main__":
            value = interlock.Value(None, "i")
            context = multiprocessing.get_context("{method}")
            queue = context.SimpleQueue()
            children = [context.Process(target=make_and_return, args=(queue, value)) for _ in range(2)]
            for child in children:
                child.start()
            for child in children:
                child.join()
                assert child.exitcode == 0
            print(value.value, queue.get() >= 2)
    """
    with Program(code, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as program:
        assert program.end() == (0, "6 True\n", "")
    if method != "spawn":
        with Program("import interlock; interlock.Value(None, 'i')") as other:
            assert other.end()[0] == 0
    assert data_files(space) == []


def test_a_child_that_goes_takes_nothing_along(space):
    """A forked child has its parent's anonymous objects and ends in every way: the parent still has them."""
    value, row = space.Value(None, "i", 1), space.Array(None, "d", [0.5])

    def let_go():
        nonlocal value, row
        del value, row
        gc.collect()
        return len(data_files(space))

    assert in_child(let_go) == "2"
    assert value.value == 1
    for end in (sys.exit, os._exit):
        child = multiprocessing.get_context("fork").Process(target=end, args=(0,))
        child.start()
        child.join(HANG_SECONDS)
    assert len(data_files(space)) == 2
    assert pickle.loads(pickle.dumps(value)).add() == 2
    assert row[0] == 0.5


def test_fork_beside_threads_that_make_data(space):
    """The child can make and drop data of its own, whatever the parent's threads were at."""
    stop = []

    def churn():
        while not stop:
            space.Value(None, "i", 1)
            space.Array(None, "b", 10)

    tasks = [Task(churn) for _ in range(2)]
    try:
        for _ in range(20):
            assert in_child(lambda: space.Value(None, "i", 3).add() + space.Array(None, "b", [1])[0]) == "5"
    finally:
        stop.append(True)
    for task in tasks:
        task.result()


def test_two_programs_open_it_at_once(space):
    """One object comes of it, with the first content of one of them, whole."""
    code = """
        import interlock, sys
        kept = []
        for line in sys.stdin:
            kept.append(interlock.Array(line.strip(), "i", [int(sys.argv[1])] * 1000))
            print(set(kept[-1][:]), flush=True)
    """
    with Program(code, 1) as first, Program(code, 2) as second:
        for number in range(100):
            first.say(f"x{number}")
            second.say(f"x{number}")
            answers = {first.line(), second.line()}
            assert answers in ({"{1}"}, {"{2}"})
    assert len(data_files(space)) == 100


def test_a_signal_gets_through_to_a_program_that_waits(space):
    with space.Value("x", "i") as taken, Program("import interlock; interlock.Value('x', 'i').value") as program:
        assert taken
        until(lambda: program.process.poll() is None and asleep(program.pid, program.pid))
        program.process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in program.end()[2]
