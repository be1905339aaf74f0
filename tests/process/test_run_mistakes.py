"""`interlock run` and what is wrong: wrong use, names made to confuse, spaces that cannot be used, nobody who listens."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import interlock
from tests.cli import INTERLOCK, UNUSABLE, Holder, cli, environment, run, unusable_space
from tests.support import HANG_SECONDS


def says(done, status):
    """The one line on stderr of a call that failed."""
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr.startswith("interlock: ")
    assert done.stderr.endswith("\n")
    line = done.stderr[:-1]
    assert line.isprintable(), ascii(line)
    return line


WRONG = {
    (): "name is missing",
    ("-n",): "name is missing",
    ("orders",): "command is missing",
    ("orders", "--"): "command is missing",
    ("orders", ""): "command is missing",
    ("--bogus", "orders", "true"): "unknown option '--bogus'",
    ("-nZ", "orders", "true"): "unknown option '-Z'",
    ("--excl", "orders", "true"): "unknown option '--excl'",
    ("orders", "-n", "true"): "options come before the name",
    ("--shared=yes", "orders", "true"): "--shared takes no value",
    ("-w",): "-w needs a value",
    ("-w", "-1", "orders", "true"): "-w takes seconds (2, 0.5), not '-1'",
    ("-w", "inf", "orders", "true"): "not 'inf'",
    ("-w", "1e3", "orders", "true"): "not '1e3'",
    ("-w", "", "orders", "true"): "not ''",
    ("-w", ".", "orders", "true"): "not '.'",
    ("-w", "9" * 5000, "orders", "true"): "-w takes seconds",
    ("-E", "256", "orders", "true"): "-E takes a number from 0 to 255, not '256'",
    ("-E", "-1", "orders", "true"): "not '-1'",
    ("-E", "٣", "orders", "true"): "not '٣'",
    ("-c", "true"): "name is missing",
    ("-c", "true", "orders", "true"): "-c is the whole command",
    ("orders", "-c"): "-c takes exactly one",
    ("orders", "-c", "true", "more"): "-c takes exactly one",
    ("-F", "orders", "true"): "-F is refused: a lock belongs to a process's memory, which exec replaces",
    ("--no-fork", "orders", "true"): "--no-fork is refused",
    ("-u", "orders", "true"): "-u is refused: there is nothing to unlock",
    ("--fd=9", "true"): "--fd is refused",
    ("--fcntl", "orders", "true"): "--fcntl is refused",
    ("--slots", "0", "orders", "true"): "--slots takes at least 1",
    ("--slots", "many", "orders", "true"): "--slots takes a number from 0 to 2147483647",
    ("--slots", "2", "-s", "orders", "true"): "--slots is a kind of its own",
    ("--slots", "2", "--kind", "lock", "orders", "true"): "--slots is a kind of its own",
    ("--kind", "mutex", "orders", "true"): "--kind takes lock or rwlock, not 'mutex'",
    ("--kind", "lock", "-s", "orders", "true"): "-s needs an RWLock",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_use(words, directory):
    line = says(run(*words), os.EX_USAGE)
    assert WRONG[words] in line
    assert line.endswith("see 'interlock run --help'")
    assert list(directory.iterdir()) == []  # refused before anything is made


@pytest.mark.parametrize("words", [[], ["rn"], ["\x1b[31mrun"], ["run\n"]])
def test_wrong_verb(words, directory):
    assert "see 'interlock --help'" in says(cli(*words), os.EX_USAGE)


CONFUSING = [
    "two words",
    "line\nbreak",
    "\x1b[2J\x1b]0;title\x07",
    "\u202eevil",
    "שלום",
    "-\t",
    "'\"$(x)`",
    "%s{0}",
    "é" * 127,
]


@pytest.mark.parametrize("name", CONFUSING)
def test_confusing_names(name, space):
    done = run("--", name, "printenv", "INTERLOCK_NAME")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}\n", "")
    with space.Lock(name):
        assert run("-n", "--", name, "true").returncode == 1
        assert name in [info.name for info in space.objects()]
    space.unlink(name)
    _used = space.Event(name)
    assert f"{name!r} is in use as an Event" in says(run("--", name, "true"), os.EX_DATAERR)


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128, "\udcff"])
def test_names_that_are_none(name, directory):
    assert "name" in says(run(name, "true"), os.EX_USAGE)


@pytest.mark.parametrize("url", ["", "shm:", "redis://somewhere", "shm:\x1b[2J" + "x" * 300, "shm:\udcff"])
def test_spaces_that_are_none(url, directory):
    says(run("--space", url, "orders", "true"), os.EX_USAGE)


def test_command_with_a_confusing_name(directory):
    assert "\\x1b[2J\\u202e" in says(run("orders", "--", "/\x1b[2J\u202e"), 127)
    assert "\\x1b[2J" in run("--verbose", "orders", "--", "/\x1b[2J").stdout


@pytest.mark.parametrize("kind", ["RLock", "Semaphore", "Event", "Condition"])
def test_name_of_another_kind(kind, space):
    _used = getattr(space, kind)("orders")
    for options in ([], ["-s"], ["--slots", "2"], ["--kind", "rwlock"]):
        article = "an" if kind[0] in "ER" else "a"
        assert f"'orders' is in use as {article} {kind}" in says(run(*options, "orders", "true"), os.EX_DATAERR)


def test_kinds_that_do_not_go_together(space):
    with Holder("orders"):
        assert "let those who take it with -x say --kind rwlock" in says(run("-s", "orders", "true"), os.EX_DATAERR)
        assert "is in use as a Lock" in says(run("--slots", "2", "orders", "true"), os.EX_DATAERR)
        assert "is in use as a Lock" in says(run("-x", "--kind", "rwlock", "orders", "true"), os.EX_DATAERR)
    with Holder("-s", "table"):
        assert "is in use as an RWLock" in says(run("--kind", "lock", "table", "true"), os.EX_DATAERR)
    with Holder("--slots", "2", "jobs"):
        assert "is for 2 permits, and is asked for with 3" in says(run("--slots", "3", "jobs", "true"), os.EX_DATAERR)
        assert "is in use as a BoundedSemaphore" in says(run("jobs", "true"), os.EX_DATAERR)


# --- spaces ---


def test_no_directory(directory):
    line = says(run("orders", "true", env=environment(INTERLOCK_DIR=str(directory / "none\n"))), os.EX_NOINPUT)
    assert "No such file" in line
    assert "INTERLOCK_DIR" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_permission(directory, tmp_path):
    """It becomes another user only after its imports: that one may not be able to read the package."""
    code = """
        import os, sys
        from interlock.cli import main, run
        os.setgid(65534), os.setuid(65534)
        sys.exit(main(["run", "orders", "true"]))
    """
    directory.chmod(0o755)
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", lines], env=environment(), capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert "no permission to write" in says(done, os.EX_NOINPUT)


def test_full(tiny):
    (tiny / "filler").write_bytes(b"x" * (2 << 20))
    assert "no room" in says(run("orders", "true", env=environment(INTERLOCK_DIR=str(tiny))), os.EX_CANTCREAT)


@pytest.mark.parametrize("how", UNUSABLE)
def test_space_of_another_version(how, directory):
    file = unusable_space(directory, how)
    before = file.read_bytes()
    line = says(run("orders", "true"), os.EX_DATAERR)
    assert "left as it is" in line
    assert file.read_bytes() == before


def test_space_deleted_while_the_command_runs(directory):
    with Holder("orders") as holder:
        (directory / f"interlock-{os.geteuid()}-default.ilk").unlink()
        holder.say()
        assert holder.end()[0] == 5


# --- nobody listens ---


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-", ">/dev/full 2>/dev/full"])
def test_closed_descriptors(closed, directory, tmp_path):
    """The command runs, finds them as they are, and what has their numbers meanwhile gets no message."""
    mark = tmp_path / "mark"
    script = f'exec "$@" {closed}'
    for words, status in {("--verbose", "orders", "sh", "-c", f"echo ran >{mark}; exit 6"): 6, ("--bogus",): 64}.items():
        done = subprocess.run(
            ["sh", "-c", script, "sh", *INTERLOCK, "run", *words],
            env=environment(),
            timeout=HANG_SECONDS,
            capture_output=True,
            check=False,
        )
        assert done.returncode == status
    assert mark.read_text() == "ran\n"
    assert interlock.Space("shm:default").Lock("orders").acquire(blocking=False)


@pytest.mark.parametrize("words", [("--verbose", "orders", "sh", "-c", "exit 6"), ("--help",), ("--bogus",)])
def test_pipes_that_nobody_reads(words, directory):
    """Their writer would be killed by SIGPIPE, or get an error; the command's exit status is what counts."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        call = subprocess.run(
            [*INTERLOCK, "run", *words], env=environment(), stdout=writer, stderr=writer, timeout=HANG_SECONDS, check=False
        )
    finally:
        os.close(writer)
    assert call.returncode == {"--verbose": 6, "--help": 0, "--bogus": 64}[words[0]]
