"""`interlock run` and signals: all of them reach the command, once, whenever they come; the lock ends with the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.cli import INTERLOCK, Holder, Run, environment, run
from tests.support import HANG_SECONDS, Program, asleep, until

NAMES = [
    "HUP",
    "INT",
    "QUIT",
    "USR1",
    "USR2",
    "ALRM",
    "TERM",
    "WINCH",
    "IO",
    "VTALRM",
    "PWR",
    "URG",
    "TTIN",
    "TTOU",
    "TSTP",
    "CONT",
]

# Says what comes, and ends with the signal's number when SIGUSR1 comes.
COUNTING = """
import os, signal, sys
wanted = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("in", flush=True)
while True:
    came = signal.sigwaitinfo(wanted)
    print(came.si_signo, came.si_pid, flush=True)
    if came.si_signo == signal.SIGUSR1:
        sys.exit(6)
"""


@pytest.fixture
def command(tmp_path):
    file = tmp_path / "counting.py"
    file.write_text(COUNTING)
    return [sys.executable, str(file)]


def lock_is_free():
    return run("-n", "orders", "true").returncode == 0


@pytest.mark.parametrize("number", [*(signal.Signals[f"SIG{name}"] for name in NAMES), signal.SIGRTMIN, signal.SIGRTMAX])
def test_passed_on(number, command, directory):
    with Run("orders", *command) as running:
        assert running.line() == "in"
        assert not lock_is_free()
        os.kill(running.pid, number)
        assert running.line() == f"{int(number)} {running.pid}"
        if number != signal.SIGUSR1:
            os.kill(running.pid, signal.SIGUSR1)
        assert running.process.wait(HANG_SECONDS) == 6
    assert lock_is_free()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM])
def test_command_dies_of_it(number, directory):
    """Then so does interlock run, as flock would: a shell needs to see that after Ctrl-C, and reads 128 + the signal."""
    with Run("orders", "sh", "-c", "echo in; exec cat") as running:
        assert running.line() == "in"
        os.kill(running.pid, number)
        assert running.process.wait(HANG_SECONDS) == -number
    assert lock_is_free()
    with Run("orders", "sh", "-c", "echo in; exec cat") as running:
        assert running.line() == "in"
        os.kill(children(running.pid)[0], number)  # not through interlock run: that has nothing to die of
        assert running.process.wait(HANG_SECONDS) == 128 + number


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def test_inherited_as_ignored(directory):
    """As from nohup: the command ignores it, too; and should it change its mind, it still gets none from us."""
    become = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGHUP)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
print("in", flush=True)
signal.sigwait({signal.SIGUSR1})
os._exit(4)
"""
    with Program(become, *INTERLOCK, "run", "orders", sys.executable, "-c", command, env=environment()) as running:
        assert running.line() == "in"
        os.kill(running.pid, signal.SIGHUP)
        os.kill(running.pid, signal.SIGUSR1)
        assert running.process.wait(HANG_SECONDS) == 4


def test_child_signal_inherited_as_ignored(directory):
    """It would let the kernel throw the command's status away."""
    code = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    with Program(code, *INTERLOCK, "run", "orders", "sh", "-c", "exit 9", env=environment()) as running:
        assert running.end() == (9, "", "")


def test_other_children(directory):
    """`exec interlock run` in a script that has started something: the end of that is not the command's."""
    script = 'sleep 600 & echo $!; exec "$@"'
    argv = ["sh", "-c", script, "sh", *INTERLOCK, "run", "orders", "sh", "-c", "echo in; read line; exit 3"]
    with subprocess.Popen(argv, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        other = int(running.stdout.readline())
        assert running.stdout.readline() == "in\n"
        os.kill(other, signal.SIGKILL)
        until(lambda: is_zombie(other))
        assert not lock_is_free()
        running.stdin.write("\n")
        running.stdin.flush()
        assert running.wait(HANG_SECONDS) == 3


def is_zombie(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_while_it_waits(number, directory):
    """It ends, as any program, and its command is never begun; it was nobody's turn, so nobody is told of a death."""
    with Holder("orders") as holder, Run("orders", "echo", "ran") as waiter:
        until(lambda: asleep(waiter.pid, waiter.pid))
        os.kill(waiter.pid, number)
        assert waiter.end() == (-number, "", "")
        holder.let_go()
    assert "left by" not in run("--verbose", "orders", "true").stdout


# Blocks the signal, and becomes `interlock run` when it has come.
EARLY = """
    import os, signal, sys
    number = signal.Signals[sys.argv[1]]
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    print("ready", flush=True)
    while number not in signal.sigpending():
        os.sched_yield()
    os.execv(sys.argv[2], sys.argv[2:])
"""
TAKES = "import signal, sys; print(int(signal.sigwait({int(sys.argv[1])})))"


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1", "TSTP"])
def test_before_there_is_a_command(name, directory):
    """A signal that is there before the command is: it gets it when it has begun."""
    number = signal.Signals[f"SIG{name}"]
    then = [*INTERLOCK, "run", "orders", sys.executable, "-c", TAKES, str(int(number))]
    with Program(EARLY, f"SIG{name}", *then, env=environment()) as running:
        assert running.line() == "ready"
        os.kill(running.pid, number)
        assert running.line() == str(int(number))
        assert running.end()[0] == 0


def test_stopped_and_continued_itself(directory):
    """SIGSTOP cannot be passed on: interlock run stops alone, and keeps the lock."""
    with Run("orders", "sh", "-c", "echo in; read line; exit 5") as running:
        assert running.line() == "in"
        os.kill(running.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WNOWAIT)
        running.say()
        (child,) = children(running.pid)
        until(lambda: is_zombie(child))
        assert not lock_is_free()
        os.kill(running.pid, signal.SIGCONT)
        assert running.end()[0] == 5
    assert lock_is_free()


# --- at a terminal ---

# A shell with one job: a process group of its own in the terminal's foreground. Says how it stops and ends.
SHELL = """
    import os, signal, sys
    path, early, *argv = sys.argv[1:]
    terminal = os.open(path, os.O_RDWR)  # which becomes this session's
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        if early:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            print("ready", flush=True)
            while signal.SIGINT not in signal.sigpending():
                os.sched_yield()
        os.execv(argv[0], argv)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            print("ended", os.waitstatus_to_exitcode(status), flush=True)
            break
        print("stopped", os.WSTOPSIG(status), flush=True)
        sys.stdin.readline()
        os.tcsetpgrp(terminal, job)
        os.killpg(job, signal.SIGCONT)
"""
# Tells of each SIGINT, and of all of them when SIGUSR1 comes.
INTERRUPTED = """
import os, signal, sys
if len(sys.argv) > 1:
    os.setpgid(0, 0)
came = []
def note(number, _):
    came.append(number)
    print("interrupted", flush=True)
signal.signal(signal.SIGINT, note)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("in", os.getppid(), flush=True)
signal.sigwaitinfo({signal.SIGUSR1})  # lets the handler run meanwhile
print(len(came), flush=True)
sys.exit(3)
"""
CTRL_C, CTRL_Z = b"\x03", b"\x1a"


@pytest.fixture
def terminal():
    """The user's side of a terminal, and the path of the other."""
    user, other = os.openpty()
    yield user, os.ttyname(other)
    os.close(user)
    os.close(other)


def job(terminal, *command, early=""):
    return Program(
        SHELL, terminal[1], early, *INTERLOCK, "run", "orders", *command, env=environment(), start_new_session=True
    )


def interrupted(*more):
    return [sys.executable, "-c", INTERRUPTED, *more]


def test_interrupted_by_its_user(terminal, directory):
    """The terminal sends it to the command as well: that gets it once."""
    with job(terminal, *interrupted()) as shell:
        pid = int(shell.line().removeprefix("in "))
        os.kill(pid, signal.SIGSTOP)  # until the command has taken the terminal's: two that wait would become one
        assert shell.line() == f"stopped {int(signal.SIGSTOP)}"
        os.write(terminal[0], CTRL_C)
        assert shell.line() == "interrupted"
        shell.say("fg")
        os.kill(pid, signal.SIGUSR1)
        assert shell.line() == "1"
        assert shell.line() == "ended 3"


def test_interrupted_command_of_another_group(terminal, directory):
    """The terminal does not send it to the command then."""
    with job(terminal, *interrupted("a group of its own")) as shell:
        pid = int(shell.line().removeprefix("in "))
        os.write(terminal[0], CTRL_C)
        assert shell.line() == "interrupted"
        os.kill(pid, signal.SIGUSR1)
        assert shell.line() == "1"
        assert shell.line() == "ended 3"


def test_interrupted_before_there_is_a_command(terminal, directory):
    """Nobody but interlock run got it from the terminal."""
    with job(terminal, sys.executable, "-c", TAKES, "2", early="early") as shell:
        assert shell.line() == "ready"
        os.write(terminal[0], CTRL_C)
        assert shell.line() == "2"
        assert shell.line() == "ended 0"


def test_interrupted_and_dead(terminal, directory):
    with job(terminal, "sh", "-c", "echo in; exec sleep 600") as shell:
        assert shell.line() == "in"
        os.write(terminal[0], CTRL_C)
        assert shell.line() == f"ended {-signal.SIGINT}"
    assert lock_is_free()


def test_stopped_by_its_user(terminal, directory):
    """The shell sees its job stop, twice; the lock stays held; `fg` lets both go on."""
    with job(terminal, *interrupted()) as shell:
        pid = int(shell.line().removeprefix("in "))
        for _ in range(2):
            os.write(terminal[0], CTRL_Z)
            assert shell.line() == f"stopped {int(signal.SIGTSTP)}"
            assert not lock_is_free()
            shell.say("fg")
            os.kill(pid, signal.SIGINT)
            assert shell.line() == "interrupted"
        os.kill(pid, signal.SIGUSR1)
        assert shell.line() == "2"
        assert shell.line() == "ended 3"
    assert lock_is_free()
