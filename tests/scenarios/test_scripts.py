"""Programs that need nothing but Python."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil

import pytest

from tests.cli import INTERLOCK
from tests.pictures import Drawn
from tests.scenarios.running import EXAMPLES, Running, command, readme, run
from tests.support import Program


def test_the_readme_names_every_example():
    programs = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.*") if path.suffix in (".py", ".sh", ".js")}
    candidates = [(name, f"{name}.py", f"{name}/app.py") for name in readme()]
    assert programs == {next(file for file in files if (EXAMPLES / file).is_file()) for files in candidates}
    for name, line in readme().items():
        assert f"examples/{name}" in line


def test_two_scripts(directory, tmp_path):
    with (
        Running(command("two_scripts/consumer"), tmp_path) as consumer,
        Running(command("two_scripts/producer"), tmp_path) as producer,
    ):
        assert producer.wait() == 0, producer.output()
        assert producer.output() == "left 500 jobs\n"
        assert consumer.wait() == 0, consumer.output()
        assert consumer.output() == "took 500 jobs, from 'job 0' to 'job 499'\n"


NODE = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node on this machine")


@pytest.mark.parametrize("kinds", [[".sh", ""], pytest.param([".sh", ".js", ""], marks=NODE)], ids=" ".join)
def test_one_number(kinds, directory, tmp_path):
    """A shell script, a Node program and a Python program, 40 times each."""
    script = tmp_path / "bin" / "interlock"  # for this Python, wherever it was installed
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(INTERLOCK)} "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}:{os.environ['PATH']}"
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(Running(command(f"one_number/count{kind}"), tmp_path, PATH=path)) for kind in kinds]
        for program in running:
            assert program.wait() == 0, program.output()
            assert program.output().endswith("added 40\n")
    assert (tmp_path / "number.txt").read_text() == f"{40 * len(kinds)}\n"


def test_asyncio_workers(directory, tmp_path):
    assert run(command("asyncio_workers"), tmp_path) == "60 jobs of 5 customers are in journal.txt\n"
    journal: dict[str, list[tuple[int, str]]] = {}
    for line in (tmp_path / "journal.txt").read_text().splitlines():
        customer, number, event = line.split()
        journal.setdefault(customer, []).append((int(number), event))
    for customer, events in journal.items():
        for (number, begins), end in zip(events[::2], events[1::2], strict=True):
            assert (begins, end) == ("begins", (number, "stopped" if number == 7 else "done")), customer
    assert sorted(number for events in journal.values() for number, _ in events[::2]) == list(range(60))


def test_shop(directory, tmp_path):
    assert run(command("shop"), tmp_path) == "1 deadlock, drawn in deadlock.svg\n"
    picture = Drawn((tmp_path / "deadlock.svg").read_text())
    locks = {lines[0] for lines in picture.red if lines[1].startswith("Lock")}
    assert locks == {"orders", "stock", "invoices"}
    assert len(picture.red) == 6


def test_fork_inside_with(directory, tmp_path):
    assert run(command("fork_inside_with"), tmp_path).splitlines() == [
        "child: may I come in? False",
        "child: may I release it? Lock 'fork-inside-with' is held by another process, thread or task: "
        "only its owner may release it (a forked child owns nothing that its parent holds)",
        "parent: still mine: True",
        "child: now it is mine: True",
        "parent: free again: True",
    ]


FORKS = """
    import multiprocessing, os, sys
    lock = getattr(multiprocessing, sys.argv[1])()
    with lock:
        child = os.fork()
        if child == 0:
            if sys.argv[1] == "Lock":
                lock.release()
            print("child is in:", lock.acquire(block=False), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
"""


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_fork_inside_with_of_multiprocessing(kind):
    """As the example's docstring says: there a Lock's child can release it, an RLock's has it."""
    with Program(FORKS, kind) as program:
        assert program.line() == "child is in: True"
        assert program.end()[1] == ""


def test_nested(directory, tmp_path):
    assert run(command("nested"), tmp_path).splitlines() == [
        "Lock, again at once: False",
        "Lock, again within 0.2 s: False",
        "Lock, by a second handle: False",
        "Lock, after the block: True",
        "RLock, again and again: True",
        "RLock, by another thread after the inner block: False",
        "RLock, by another thread after the outer block: True",
    ]
