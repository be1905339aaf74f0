"""Runs the examples by the commands that examples/README.md gives, and leaves no process behind."""

from __future__ import annotations

import http.client
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import interlock
from tests.support import HANG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

EXAMPLES = Path(__file__).parents[2] / "examples"
PORT = "8000"  # of the commands in the README

MISSING = "{} is not installed: pip install 'interlock[scenarios]'"


def readme() -> dict[str, str]:
    """The README's commands, by example."""
    rows = re.findall(r"^\| \[(.+?)\]\(.+?\) \| .* \| `(.+?)` \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    return dict(rows)


def beside_python(program: str) -> str | None:
    """The program of the environment that the tests run in."""
    return shutil.which(program, path=os.path.dirname(sys.executable))


def command(example: str, *more: str, without: str | None = None, port: int | None = None) -> list[str]:
    """The README's command for the example, with more arguments or without one, and another port, for this Python."""
    program, *arguments = shlex.split(readme()[example])
    if without is not None:
        arguments.remove(without)
    if port is not None:
        assert any(PORT in argument for argument in arguments)
        arguments = [argument.replace(PORT, str(port)) for argument in arguments]
    return [beside_python(program) or shutil.which(program), *arguments, *more]


class Running:
    """A command that runs in a session of its own, in a directory where examples/ is found.

    Nothing of it is left at the end.
    """

    def __init__(self, argv: list[str], directory: Path, **environment: str) -> None:
        examples = directory / "examples"
        if not examples.exists():
            examples.symlink_to(EXAMPLES)
        self.log = directory / f"{Path(argv[0]).name}-{time.monotonic_ns()}.log"
        package = Path(interlock.__file__).parents[1]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(package),
                    # gunicorn makes a socket in it, whose path must be short.
                    "HOME": os.environ["INTERLOCK_DIR"],
                    "JOBLIB_TEMP_FOLDER": str(directory),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> int:
        """Waits for its end, and for that of all it started."""
        status = self.process.wait(HANG_SECONDS)
        until(lambda: not session(self.pid), self, "processes of its that outlive it: {}", lambda: session(self.pid))
        return status

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_SECONDS)
        for pid in session(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run(argv: list[str], directory: Path, **environment: str) -> str:
    """What the command prints. It must succeed."""
    with Running(argv, directory, **environment) as running:
        assert running.wait() == 0, running.output()
        return running.output()


class Server(Running):
    """An HTTP server on a port of 127.0.0.1, ready to answer."""

    def __init__(self, example: str, directory: Path, *more: str, without: str | None = None, **environment: str) -> None:
        self.port = free_port()
        super().__init__(command(example, *more, without=without, port=self.port), directory, **environment)
        try:
            until(self.answers, self, "the server does not answer")
        except BaseException:
            self.__exit__()
            raise

    def answers(self) -> bool:
        assert self.process.poll() is None, f"the server ended: {self.output()}"
        try:
            self.get("/total")
        except (ConnectionError, http.client.HTTPException):
            return False
        return True

    def get(self, path: str) -> str:
        return self.ask("GET", path)

    def ask(self, method: str, path: str) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_SECONDS)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            text = response.read().decode().rstrip("\n")
        assert response.status == http.client.OK, f"{path}: {response.status} {text}\n{self.output()}"
        return text

    def stop(self) -> None:
        """As Ctrl-C does, but for the leader alone: ending its workers is its own business."""
        self.process.send_signal(signal.SIGINT)
        assert self.wait() == 0, self.output()


def until(reached, running: Running, failure: str, *figures) -> None:
    """Waits until reached() is true."""
    limit = time.monotonic() + HANG_SECONDS
    while not reached():
        if time.monotonic() > limit:
            raise AssertionError(failure.format(*(figure() for figure in figures)) + "\n" + running.output())
        time.sleep(0.01)


def ask_at_once(clients: int, requests: int, ask: Callable[[], T]) -> list[T]:
    """Clients ask, all at once, so many times each. Returns the answers."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def client() -> None:
        try:
            for _ in range(requests):
                answers.append(ask())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return answers


def ask_while_holders_die(
    server: Server, lock: interlock.Lock, clients: int, ask: Callable[[], int]
) -> tuple[list[int], list[Exception], list[int]]:
    """Clients ask without end, while workers are killed that hold the lock, until three deaths have been taken over.

    Returns the answers, why requests failed, as they do whose worker was killed, and the pids of those.
    """
    answers: list[int] = []
    failed: list[Exception] = []
    errors: list[BaseException] = []
    killed: list[int] = []
    stop = threading.Event()

    def client() -> None:
        try:
            while not stop.is_set():
                try:
                    answers.append(ask())
                except (ConnectionError, http.client.HTTPException) as error:
                    failed.append(error)
        except BaseException as error:
            errors.append(error)

    def killed_while_holding() -> bool:
        assert errors == []
        owner = lock.owner
        if owner:
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGKILL)
                killed.append(owner.pid)
        return lock.statistics().recoveries >= 3

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(killed_while_holding, server, "nobody was killed while holding the lock")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    return answers, failed, killed


def session(leader: int) -> list[int]:
    """The living processes of the session that the process has begun."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, _parent, _group, its_session = stat.rpartition(")")[2].split()[:4]
            if int(its_session) == leader and state not in "ZX":
                members.append(int(entry))
    return members


def free_port() -> int:
    """A free port below those that the kernel hands out itself.

    One of those might become the near end of some other connection before the server has it, even of the very
    connection that tries whether the server is there (TCP lets a socket connect to itself).
    """
    for port in random.sample(range(20000, 32768), 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
