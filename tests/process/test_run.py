"""`interlock run`: the cases of util-linux's own test of flock, the lock that it shares with Python, and exit statuses."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

import interlock
from interlock.cli import VERBS
from tests.cli import INTERLOCK, Holder, Run, cli, environment, run
from tests.support import HANG_SECONDS, asleep, until


def got_in(done):
    """Whether the command ran; that it was not had, without a word, is the other thing that may be."""
    assert (done.returncode, done.stdout, done.stderr) in [(0, "hello\n", ""), (123, "", "")]
    return done.returncode == 0


def attempt(*options):
    return got_in(run(*options, "-E", "123", "orders", "echo", "hello"))


# --- the cases of tests/ts/flock in util-linux, and what its manual page says ---


def test_while_it_is_shared(directory):
    with Holder("--shared", "orders") as holder:
        for options in ("--nonblock", "--nb --exclusive", "-n", "-nx", "--nonblocking -e", "-w 0", "--wait=0", "-n -w 9"):
            assert not attempt(*options.split()), options
        assert attempt("--shared")
        assert attempt("-ns")
        assert attempt("-n", "-x", "-s")  # the last one counts
        assert not attempt("-n", "-s", "-x")
        holder.let_go()
    assert attempt("-n")


def test_while_it_is_exclusive(directory):
    with Holder("-x", "--kind", "rwlock", "orders") as holder:
        assert not attempt("-n")
        assert not attempt("-ns")
        holder.let_go()
    with Holder("orders"):
        assert not attempt("-n")
        assert not attempt("-n", "--kind", "lock")


@pytest.mark.parametrize("held", ["--shared", "--exclusive"])
def test_timeout_that_is_not_needed(held, directory):
    with Holder(held, "orders") as holder, Run("--timeout", str(HANG_SECONDS), "-E", "5", "orders", "echo", "in") as waiter:
        until(lambda: asleep(waiter.pid, waiter.pid))
        holder.let_go()
        assert waiter.line() == "in"
        assert waiter.end() == (0, "", "")


def test_timeout(directory):
    with Holder("orders"):
        before = time.monotonic()
        assert run("-w", "0.25", "orders", "true").returncode == 1
        assert time.monotonic() - before >= 0.25
        for options in ("-w.25 -E77", "--timeout=.25 --conflict-exit-code=77", "--wait 0.25 --conflict-exit-code 77"):
            assert run(*options.split(), "orders", "true").returncode == 77
        assert run("-n", "-E", "0", "orders", "false").returncode == 0


def test_shell_command(directory):
    for words in (["-c", "echo $0 a  b; exit 3", "orders"], ["orders", "-c", "echo $0 a  b; exit 3"]):
        done = run(*words, env=environment(SHELL="/bin/sh"))
        assert (done.returncode, done.stdout, done.stderr) == (3, "/bin/sh a b\n", "")
    done = run("orders", "--command", "echo $0", env={k: v for k, v in environment().items() if k != "SHELL"})
    assert done.stdout == "/bin/sh\n"


def test_verbose(directory):
    done = run("--verbose", "orders", "--", "sh", "-c", "echo hello")
    took, executing, hello = done.stdout.splitlines()
    assert took.startswith("interlock: getting lock took 0.")
    assert took.endswith(" seconds")
    assert (executing, hello, done.stderr) == ("interlock: executing sh", "hello", "")
    with Holder("orders") as holder:
        by = f"it is held by process {holder.pid} thread "
        assert f"interlock: failed to get lock; {by}" in run("--verbose", "-n", "orders", "true").stderr
        assert f"interlock: timeout while waiting to get lock; {by}" in run("--verbose", "-w.1", "orders", "true").stderr


def test_close_is_accepted(directory):
    assert run("-o", "orders", "true").returncode == run("--close", "orders", "true").returncode == 0


# --- exit statuses ---


@pytest.mark.parametrize(("command", "status"), [("exit 0", 0), ("exit 254", 254), ("kill -9 $$", 137), ("kill $$", 143)])
def test_status_of_the_command(command, status, directory):
    assert run("orders", "sh", "-c", command).returncode == status


def test_commands_that_cannot_run(directory, tmp_path):
    (tmp_path / "data").write_text("none of your business")
    (tmp_path / "not a program").write_bytes(b"\x7fELF no program")
    (tmp_path / "not a program").chmod(0o755)
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    for command, status in {
        "no-such-command": 127,
        str(tmp_path / "none"): 127,
        str(tmp_path / "no-interpreter"): 127,
        str(tmp_path): 126,
        str(tmp_path / "data"): 126,
        str(tmp_path / "data" / "x"): 126,
    }.items():
        done = run("orders", "--", command)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert done.stderr.startswith(f"interlock: failed to execute {command}: ")
    done = run("--verbose", "-n", "orders", "true")  # none of them keeps the lock, or dies with it
    assert done.returncode == 0
    assert "left by" not in done.stdout


def test_script_without_an_interpreter_is_for_the_shell(directory, tmp_path):
    script = tmp_path / "script"
    script.write_text('echo "$0 $*"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    assert run("orders", str(script), "a", "b").stdout == f"{script} a b\n"
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert run("orders", "script", "a", env=environment(PATH=path)).stdout == f"{script} a\n"


def test_words_go_to_the_command_as_they_are(directory):
    words = ["-n", "--", "", "a b", "--help", "\udcff", "é\n"]
    code = "import sys; print(ascii(sys.argv[1:]))"
    assert run("orders", "--", sys.executable, "-c", code, *words).stdout == f"{words!a}\n"
    assert run("--", "-orders", "echo", "-n", "--").stdout == "--"


# --- the lock ---


def test_it_is_the_lock_of_python(space):
    with space.Lock("orders"):
        assert not attempt("-n")
    with Holder("orders") as holder:
        lock = space.Lock("orders")
        assert not lock.acquire(blocking=False)
        assert lock.owner.pid == holder.pid
        holder.say()
        assert lock.acquire()
        assert lock.recovered is None
        lock.release()


def test_it_is_the_rwlock_of_python(space):
    table = space.RWLock("orders")
    with table.read:
        assert attempt("-ns")
        assert not attempt("-nx")
    with table.write:
        assert not attempt("-n")
    with Holder("orders"):  # without an option: the writing side, since the name is in use as an RWLock
        assert not table.read.acquire(blocking=False)
    with Holder("-s", "orders"):
        assert not table.write.acquire(blocking=False)
        assert table.read.acquire(blocking=False)


def test_slots(space):
    with Holder("--slots", "2", "jobs"), Holder("--slots=2", "jobs"):
        assert run("-n", "--slots", "2", "jobs", "true").returncode == 1
        assert not space.BoundedSemaphore("jobs", 2).acquire(blocking=False)
    assert space.BoundedSemaphore("jobs", 2).acquire()


def test_other_spaces(directory):
    with Holder("--space", "shm:payments", "orders"):
        assert attempt("-n")
        assert not attempt("-n", "--space=shm:payments")
        assert not got_in(run("-nE123", "orders", "echo", "hello", env=environment(INTERLOCK_SPACE="shm:payments")))


def test_lock_ends_with_the_command(directory):
    """Whatever the command leaves behind."""
    done = run("orders", "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    left = int(done.stdout)
    try:
        assert run("-n", "orders", "true").returncode == 0
        os.kill(left, 0)
    finally:
        os.kill(left, signal.SIGKILL)


def test_killed(space):
    """What the help says of SIGKILL: the lock is free, the next one is told, and the command runs on."""
    with Run("orders", "sh", "-c", "echo $$; read line") as holder:
        command = int(holder.line())
        holder.process.kill()
        assert holder.process.wait(HANG_SECONDS) == -signal.SIGKILL
        done = run("--verbose", "orders", "true")
        _, left, _ = done.stdout.splitlines()
        assert left.startswith(f"interlock: the lock was left by process {holder.pid} ")
        assert left.endswith("who died holding it")
        os.kill(command, 0)
        holder.say()  # ends it
        assert holder.process.stdout.read() == ""
        assert "left by" not in run("--verbose", "orders", "true").stdout


# --- what the command finds ---

SHOW = "echo ${INTERLOCK_NAME-none} ${INTERLOCK_FENCE-none}"


def test_environment(space):
    fences = []
    for _ in range(3):
        name, fence = run("my orders", "-c", SHOW).stdout.rsplit(maxsplit=1)
        assert name == "my orders"
        fences.append(int(fence))
    lock = space.Lock("my orders")
    with lock:
        assert fences[0] < fences[1] < fences[2] < lock.fence
    around = environment(INTERLOCK_FENCE="7", INTERLOCK_NAME="x")
    assert run("--slots", "2", "jobs", "-c", SHOW, env=around).stdout == "jobs none\n"
    assert run("-s", "table", "-c", SHOW, env=around).stdout == f"table {space.RWLock('table').read.fence}\n"


# Of what is ignored the last seven digits, signals 1 to 28: posix_spawn lets glibc's own, 32 and 33, be ignored.
SURROUNDINGS = r"""
    sed -nE "s/^SigIgn.*(.{7})$/\1/p; /^(Sig[BC]|Shd)/p" /proc/self/status
    ls -l /proc/self/fd | wc -l; ulimit -a; umask; pwd; env | sort; cat
"""


@pytest.mark.parametrize("ignored", ["", "HUP INT QUIT TSTP USR1"])
@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LC_CTYPE": "C.UTF-8"}, {"LC_CTYPE": "C.UTF-8", "LANG": "C"}])
def test_all_else_is_as_without_it(ignored, locale, directory):
    """Signals, descriptors, limits, environment, stdin: what a command finds does not tell that Python ran before it."""
    begin = f"trap '' {ignored}; exec" if ignored else "exec"
    variables = {key: value for key, value in environment().items() if not key.startswith(("LC_", "LANG"))}

    def surroundings(*before):
        return subprocess.run(
            ["sh", "-c", f'{begin} "$@"', "sh", *before, "sh", "-c", SURROUNDINGS],
            env={**variables, **locale, "INTERLOCK_NAME": "orders"},
            input="from stdin\n",
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=True,
        ).stdout

    seen = surroundings(*INTERLOCK, "run", "orders", "--")
    assert [line for line in seen.splitlines() if not line.startswith("INTERLOCK_FENCE=")] == surroundings().splitlines()
    assert seen.endswith("from stdin\n")


def test_it_imports_little(directory):
    """Its start is what a run costs."""
    done = subprocess.run(
        [INTERLOCK[0], "-X", "importtime", *INTERLOCK[1:], "run", "orders", "true"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "interlock.cli.run" in imported
    at_start = subprocess.run([sys.executable, "-X", "importtime", "-c", ""], capture_output=True, text=True, check=True)
    imported -= {line.rpartition("|")[2].strip() for line in at_start.stderr.splitlines()}
    allowed = {"__future__", "errno", "time", "interlock", "sys", "_signal", "os"}
    assert {name for name in imported if not name.startswith("interlock.")} <= allowed


def test_help_and_version(directory):
    assert cli("--version").stdout == f"interlock {interlock.__version__}\n"
    for verb in VERBS:
        assert f"\n  {verb} " in cli("--help").stdout
        assert cli(verb, "--help").returncode == 0
    done = cli("run", "--help")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 124
    for option in ["-x", "-e", "-s", "-n", "-w", "-E", "-c", "-o", "--slots", "--kind", "--space", "--verbose"]:
        assert f" {option}" in done.stdout
