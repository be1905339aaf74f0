"""`interlock run`: a command runs while a lock is held.

Options and exit statuses are those of flock(1), so that a line with flock becomes one with interlock by its first word and
a name instead of a file. What is different, and why:

- What is locked is a name, the same that Python programs use: `interlock run orders -- …` has interlock.Lock("orders").
  One name is one kind of object, and a Lock is not shared. So -x, and no option, take the Lock, unless the name is in use
  as an RWLock: then that one's writing side. -s takes the RWLock's reading side, and is refused while the name is in use
  as a Lock; where some take a name with -s, the others say `--kind rwlock`, so that it is one whoever comes first.
- The lock ends with the command. flock's is kept by whoever inherited its descriptor, a daemon that the command leaves
  behind too, unless -o is given; here nothing is inherited, so -o is accepted and changes nothing.
- Signals that `interlock run` gets go to the command, and it waits for the command's end. Killed with SIGKILL, which no
  program can pass on, it holds nothing from then on: the next one gets the lock within milliseconds, told that the former
  holder died, and the command may still run. Whoever must kill both kills the process group, or the command first.
- --no-fork is refused: a lock belongs to a process's memory, which exec replaces.

The start of Python is the larger part of what a run costs, so this module imports only what is in the interpreter
already: no argparse, subprocess, signal (for its enum) or re. `_signal` is what the module signal wraps.
"""

from __future__ import annotations

import errno
import os
import time

from interlock.cli import folded, say, status_of, tell
from interlock.errors import InterlockError, KindMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from interlock.bounded_semaphore import BoundedSemaphore
    from interlock.lock import Lock
    from interlock.rwlock import ReadLock, WriteLock

    AnyLock = Lock | ReadLock | WriteLock | BoundedSemaphore
else:
    import _signal

HELP = """\
Usage: interlock run [OPTIONS] NAME [--] COMMAND [ARGUMENT …]
       interlock run [OPTIONS] NAME -c 'SHELL COMMAND'

Holds the lock NAME while COMMAND runs. It is the lock that interlock.Lock("NAME") is in Python.

 -x, -e, --exclusive            alone (the default)
 -s, --shared                   together with others who say -s: the reading side of interlock.RWLock("NAME")
     --slots N                  together with N - 1 others: a permit of interlock.BoundedSemaphore("NAME", N)
 -n, --nb, --nonblock           fail rather than wait
 -w, --wait, --timeout SECONDS  wait at most so long (2, 0.5)
 -E, --conflict-exit-code CODE  the exit status when the lock was not to be had, 0 to 255; without this, 1
 -c, --command 'SHELL COMMAND'  what to run, for $SHELL -c
     --kind lock|rwlock         which kind NAME is, with -x: see below
     --space URL                where NAME lives; without this, $INTERLOCK_SPACE or shm:default
     --verbose                  tell how long it took, why it failed, and from whose death the lock was taken over
 -o, --close                    accepted for flock's sake: the command inherits nothing that could keep the lock
 -h, --help

A name is one kind. -x, and no option, take the Lock NAME, or the writing side if NAME is in use as an RWLock. -s is
refused while NAME is in use as a Lock: where some take a name with -s, let the others say --kind rwlock.

COMMAND finds NAME in $INTERLOCK_NAME, and in $INTERLOCK_FENCE a number that is higher with each exclusive holder of NAME.
The lock ends with COMMAND. Signals go on to it. If `interlock run` itself is killed by SIGKILL, the lock is free, though
COMMAND may still run.

Exit status: COMMAND's own; 128 + the signal that killed it; 127 if it is not found, 126 if it cannot be run; 1 or CODE
if the lock was not to be had; 64 for wrong use, 65 if NAME is in use as something else or its space is of another
version, 66 if the space cannot be used, 71 and 73 if the system refuses a process or room.
"""

NAMES = {  # the other names of each option
    "--exclusive": "-x",
    "-e": "-x",
    "--shared": "-s",
    "--nonblock": "-n",
    "--nonblocking": "-n",
    "--nb": "-n",
    "--wait": "-w",
    "--timeout": "-w",
    "--conflict-exit-code": "-E",
    "--command": "-c",
    "--close": "-o",
    "--help": "-h",
    "--no-fork": "-F",
    "--unlock": "-u",
}
ALONE = ("-x", "-s", "-n", "-o", "-h", "--verbose")
WITH_VALUE = ("-w", "-E", "-c", "--slots", "--space", "--kind")
FILES = "it is about flock's files: a name in interlock has no descriptor"
REFUSED = {
    "-F": "a lock belongs to a process's memory, which exec replaces: leave it away, signals are passed on to the command",
    "-u": "there is nothing to unlock: a lock ends with its command",
    "--fd": FILES,
    "--fcntl": FILES,
    "--start": FILES,
    "--length": FILES,
}

# Never blocked, and so not passed on: what the kernel sends for a fault of our own (the engine handles SIGBUS), and what
# Python has ignored since its start.
OURS = frozenset(
    (
        _signal.SIGKILL,
        _signal.SIGSTOP,
        _signal.SIGCHLD,
        _signal.SIGSEGV,
        _signal.SIGBUS,
        _signal.SIGFPE,
        _signal.SIGILL,
        _signal.SIGTRAP,
        _signal.SIGSYS,
        _signal.SIGABRT,
        _signal.SIGPIPE,
        _signal.SIGXFSZ,
    )
)
JOB_STOPS = (_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU)
TERMINAL = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGWINCH, *JOB_STOPS)
SI_KERNEL = 0x80  # siginfo's si_code: no process sent it (asm-generic/siginfo.h)


class WrongUse(Exception):
    """The command line is none; the message says what is wrong."""


def main(arguments: list[str]) -> NoReturn:
    status = run(arguments)
    # Not through the interpreter's end, which takes longer than flock's whole run. Nothing is buffered.
    os._exit(status)


def run(arguments: list[str]) -> int:
    if _signal.getsignal(_signal.SIGINT) == _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    try:
        given, rest = options(arguments)
        if "-h" in given:
            tell(1, folded(HELP))
            return os.EX_OK
        name, command = operands(given, rest)
        seconds = 0.0 if "-n" in given else None if "-w" not in given else number("-w", given["-w"], fraction=True)
        conflict = int(number("-E", given.get("-E", "1"), most=255))
        openers = kinds(given, name)
    except WrongUse as wrong:
        say(f"{wrong}: see 'interlock run --help'")
        return os.EX_USAGE

    # Blocked from before the lock is taken until after it is released, except while waiting for it: none is lost, and none
    # ends us before the command.
    passed: set[int] = {s for s in _signal.valid_signals() - OURS if _signal.getsignal(s) != _signal.SIG_IGN}
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # ignored, as it may be inherited, it would hide the command's status
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, {*passed, _signal.SIGCHLD})
    verbose = "--verbose" in given
    began = time.monotonic()
    try:
        lock, taken = take(openers, seconds, mask)
        if verbose:
            tell_how(lock, taken, seconds, time.monotonic() - began)
        if not taken:
            return conflict
        environment = environment_for(name, getattr(lock, "fence", None))
    except (InterlockError, OSError, ValueError, TypeError) as error:
        return refused(error, name)

    if verbose:
        say(f"executing {command[0]}", 1)
    try:
        child = spawn(command, environment, mask)
    except OSError as error:
        lock.release()
        say(f"failed to execute {command[0]}: {error.strerror}")
        return {errno.ENOENT: 127, errno.EAGAIN: os.EX_OSERR, errno.ENOMEM: os.EX_OSERR}.get(error.errno or 0, 126)
    status, seen = attend(child, passed)
    try:
        lock.release()
    except InterlockError as error:  # the space was deleted meanwhile, say: the command has run all the same
        refused(error, name)
    if os.WIFSIGNALED(status):
        killer = os.WTERMSIG(status)
        if killer in seen:
            die_of(killer)
        return 128 + killer
    return os.WEXITSTATUS(status)


# --- the command line ---


def options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options, each by its first name, and what comes after them. As with getopt: -nw5, --wait=5; the last counts."""
    given: dict[str, str] = {}
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        word = arguments[at]
        at += 1
        if word == "--":
            break
        long = word.startswith("--")
        while word:
            first, has_value, value = word.partition("=") if long else (word[:2], word[2:], word[2:])
            option = NAMES.get(first, first)
            word = ""
            if option in REFUSED:
                raise WrongUse(f"{first} is refused: {REFUSED[option]}")
            if option in WITH_VALUE:
                if not has_value:
                    if at == len(arguments):
                        raise WrongUse(f"{first} needs a value")
                    value = arguments[at]
                    at += 1
            elif option not in ALONE:
                raise WrongUse(f"unknown option {first!r}")
            elif has_value:
                if long:
                    raise WrongUse(f"{first} takes no value")
                word, value = f"-{value}", ""
            if option in ("-s", "-x"):
                given.pop("-s", None)
                given.pop("-x", None)
            given[option] = value
    return given, arguments[at:]


def operands(given: dict[str, str], rest: list[str]) -> tuple[str, list[str]]:
    """The name, and the command with its arguments."""
    if not rest:
        raise WrongUse("the lock's name is missing")
    name, *command = rest
    shell = given.get("-c")
    if shell is not None and command:
        raise WrongUse("-c is the whole command: nothing may follow the name")
    if command and command[0] in ("-c", "--command"):
        if len(command) != 2:
            raise WrongUse(f"{command[0]} takes exactly one argument, and nothing may follow that")
        shell = command[1]
    elif command and command[0] == "--":
        del command[0]
    elif command and command[0].startswith("-"):
        raise WrongUse(f"options come before the name; if a command is really called {command[0]!r}, write -- before it")
    if shell is not None:
        command = [os.environ.get("SHELL") or "/bin/sh", "-c", shell]
    if not command or not command[0]:
        raise WrongUse("the command is missing")
    return name, command


def number(option: str, text: str, most: int | None = None, fraction: bool = False) -> float:
    """A number in plain decimal digits."""
    digits = text.replace(".", "", 1) if fraction else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 12 and (most is None or int(text) <= most)):
        wanted = "seconds (2, 0.5)" if fraction else f"a number from 0 to {most}"
        raise WrongUse(f"{option} takes {wanted}, not {text!r}")
    return float(text)


def kinds(given: dict[str, str], name: str) -> dict[str, Callable[[], AnyLock]]:
    """How to open the name as each kind that it may be, the one that it becomes if it is none yet first."""
    space, kind, slots = given.get("--space"), given.get("--kind"), given.get("--slots")

    def as_lock() -> AnyLock:
        from interlock.lock import Lock

        return Lock(name, space=space)

    def as_rwlock() -> AnyLock:
        from interlock.rwlock import RWLock

        both = RWLock(name, space=space)
        return both.read if "-s" in given else both.write

    def as_semaphore() -> AnyLock:
        from interlock.bounded_semaphore import BoundedSemaphore

        return BoundedSemaphore(name, permits, space=space)

    if slots is not None:
        permits = int(number("--slots", slots, most=2**31 - 1))
        if permits == 0:
            raise WrongUse("--slots takes at least 1")
        if "-s" in given or "-x" in given or kind is not None:
            raise WrongUse("--slots is a kind of its own: leave -s, -x and --kind away")
        return {"BoundedSemaphore": as_semaphore}
    if kind not in (None, "lock", "rwlock"):
        raise WrongUse(f"--kind takes lock or rwlock, not {kind!r}")
    if kind == "lock" and "-s" in given:
        raise WrongUse("-s needs an RWLock: leave --kind lock away")
    if kind == "rwlock" or "-s" in given:
        return {"RWLock": as_rwlock}
    return {"Lock": as_lock} if kind == "lock" else {"Lock": as_lock, "RWLock": as_rwlock}


# --- the lock ---


def take(openers: dict[str, Callable[[], AnyLock]], seconds: float | None, mask: Iterable[int]) -> tuple[AnyLock, bool]:
    """The lock, and whether it was had within so many seconds (None: for ever)."""
    limit = None if seconds is None else time.monotonic() + seconds
    kind = next(iter(openers))
    while True:
        try:
            lock = openers[kind]()
            if lock.acquire(False):
                return lock, True
            if seconds == 0:
                return lock, False
            blocked = _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)  # a signal ends a wait as it ends any program
            try:
                return lock, lock.acquire(True, None if limit is None else max(0.0, limit - time.monotonic()))
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
        except KindMismatch as error:
            if error.in_use_as not in openers or error.in_use_as == kind:
                raise
            kind = error.in_use_as


def tell_how(lock: AnyLock, taken: bool, seconds: float | None, took: float) -> None:
    """What --verbose prints: in flock's words, and what flock cannot know."""
    if not taken:
        holder = getattr(lock, "owner", None)
        what = "timeout while waiting to get lock" if seconds else "failed to get lock"
        say(f"{what}; it is held by {holder}" if holder else what)
        return
    say(f"getting lock took {took:.6f} seconds", 1)
    dead = getattr(lock, "recovered", None)
    if dead:
        say(f"the lock was left by {dead}, who died holding it", 1)


def refused(error: Exception, name: str) -> int:
    """Tells why the lock cannot be used. Returns the exit status for it: flock's, for what is like its errors."""
    match error:
        case UnicodeEncodeError():
            say(f"the name is not UTF-8: {error.object!r}")
        case KindMismatch(in_use_as="Lock"):
            say(
                f"{name!r} is in use as a Lock, which is not shared and has no permits: "
                "for -s, let those who take it with -x say --kind rwlock (interlock.RWLock in Python)"
            )
        case _:
            say(str(error))
    return status_of(error)


# --- the command ---


def environment_for(name: str, fence: int | None) -> dict[str, str]:
    """Our environment, and what the command is told of its lock."""
    environment = dict(os.environ)
    # In the C locale, Python sets this for itself (PEP 538); the command gets the environment that we got.
    if environment.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        try:
            with open("/proc/self/environ", "rb") as began_with:
                if not any(entry.startswith(b"LC_CTYPE=") for entry in began_with.read().split(b"\0")):
                    del environment["LC_CTYPE"]
        except OSError:
            say("cannot read /proc/self/environ: LC_CTYPE may be Python's own")
    environment["INTERLOCK_NAME"] = name
    environment.pop("INTERLOCK_FENCE", None)  # of a run around this one
    if fence is not None:
        environment["INTERLOCK_FENCE"] = str(fence)
    return environment


def spawn(command: list[str], environment: dict[str, str], mask: Iterable[int]) -> int:
    """Starts the command, with the signals as we found them. Returns its pid."""
    # These two Python ignores for itself.
    defaults = (_signal.SIGPIPE, _signal.SIGXFSZ)
    try:
        return os.posix_spawnp(command[0], command, environment, setsigmask=mask, setsigdef=defaults)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without #! is one for the shell, as execvp(3) has it.
    program, *arguments = command
    if "/" not in program:
        places = (os.path.join(place, program) for place in os.get_exec_path())
        program = next((place for place in places if os.access(place, os.X_OK)), program)
    return os.posix_spawn("/bin/sh", ["sh", program, *arguments], environment, setsigmask=mask, setsigdef=defaults)


def attend(child: int, passed: set[int]) -> tuple[int, set[int]]:
    """Waits for the command's end, passes signals on, stops and goes on with it. Returns its status and signals seen."""
    # What the terminal sends goes to the command anyway; but what came before there was a command did not.
    early = _signal.sigpending()
    seen: set[int] = set()
    while True:
        came = _signal.sigwaitinfo({*passed, _signal.SIGCHLD})
        if came.si_signo != _signal.SIGCHLD:
            seen.add(came.si_signo)
            had = came.si_code == SI_KERNEL and came.si_signo in TERMINAL and came.si_signo not in early
            if not had or os.getpgid(child) != os.getpgrp():
                pass_on(child, came.si_signo)
            early.discard(came.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if pid == child and not os.WIFSTOPPED(status):
            return status, seen
        if pid == child and os.WSTOPSIG(status) in JOB_STOPS:
            stop_too(os.WSTOPSIG(status))


def pass_on(child: int, signal: int) -> None:
    try:
        os.kill(child, signal)
    except OSError as error:  # the command runs as another user
        say(f"cannot pass signal {signal} on to process {child}: {error.strerror}")


def stop_too(signal: int) -> None:
    """Stops as the command was stopped, which is what a shell waits for; SIGCONT lets us go on, and is passed on.

    By the signal itself: the kernel ignores it where no shell could let us go on. Sent before it is let in, so that the
    terminal's own, which may be pending, and this one are one.
    """
    os.kill(os.getpid(), signal)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {signal})
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {signal})


def die_of(signal: int) -> None:
    """Ends by the signal that we passed on and the command died of: what flock's status is then, and what a shell needs to
    see after Ctrl-C."""
    _signal.signal(signal, _signal.SIG_DFL)
    os.kill(os.getpid(), signal)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {signal})
