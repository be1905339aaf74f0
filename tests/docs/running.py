"""Runs the blocks of a page, in order, as its reader would: in a directory and a space of its own.

- `python` blocks run in one Python for the page, and may await; `pycon` blocks, too, and what they print is compared. Those
  with the caption "First terminal", say, run in a Python of that terminal.
- A block whose caption is the name of a file is that file.
- `console` blocks: each line after `$ ` is a command, and what it prints is compared. One that ends with & runs in the
  background until the page is over. After one that fails there must be `echo $?`.
- A `c` block is what a main() does.

What is compared may have `...` where it is not the same each time (doctest's ELLIPSIS). Port 8000 is another that is free.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import interlock
from tests.c_programs import compile_program
from tests.cli import INTERLOCK
from tests.docs.session import OPTIONS
from tests.scenarios.running import PORT, free_port, session
from tests.support import HANG_SECONDS

if TYPE_CHECKING:
    from tests.docs.pages import Block

HERE = re.compile(rf"(?<=127\.0\.0\.1:){PORT}|(?<=--port ){PORT}")
ROOT = Path(__file__).parents[2]
OURS = re.compile("INTERLOCK_|.*_proxy$", re.IGNORECASE)  # variables that a page's programs do not inherit

# Commands that pages show and that are not run, each with the reason.
NOT_RUN = {
    "python3 -m pip install .": "what is tested is installed already",
    "python3 -m venv ~/locks": "so is what it is installed into",
    ". ~/locks/bin/activate": "so is what it is installed into",
}


class Terminal:
    """A Python that blocks are typed into."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        asked, ask = os.pipe()
        answer, answers = os.pipe()
        self.log = directory / f".terminal-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(Path(__file__).with_name("session.py")), str(asked), str(answers)],
                cwd=directory,
                env=environment,
                pass_fds=(asked, answers),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        os.close(asked)
        os.close(answers)
        self.ask, self.answer = open(ask, "w"), open(answer)  # noqa: SIM115 - closed by close()

    def run(self, block: Block, source: str, page: str) -> None:
        asked = {"source": source, "doctest": block.language == "pycon", "file": page, "line": block.line}
        with suppress(BrokenPipeError):
            print(json.dumps(asked), file=self.ask, flush=True)
        line = self.answer.readline()
        assert line, f"{page}:{block.line}: its Python has ended: {self.log.read_text()}"
        failure = json.loads(line)
        assert failure is None, f"{page}:{block.line}:\n{failure}\n{self.log.read_text()}"

    def close(self) -> None:
        kill_session(self.process)
        with suppress(BrokenPipeError):
            self.ask.close()
        self.answer.close()


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kills the process, which has begun a session, and what it has started."""
    process.kill()
    process.wait(HANG_SECONDS)
    while members := session(process.pid):
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Page:
    """A page that is being read."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.terminals: dict[str, Terminal] = {}
        self.unused: set[str] = set()  # files that no command has named yet
        self.port: int | None = None
        self.status = 0
        self.failed: str | None = None  # a command that nobody has asked the status of yet
        self.stack = ExitStack()
        (directory / "examples").symlink_to(ROOT / "examples")
        programs = directory / ".bin"
        programs.mkdir()
        for program, argv in {"python3": [sys.executable], "interlock": INTERLOCK}.items():
            script = programs / program
            script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not OURS.match(key)},
            "INTERLOCK_DIR": os.environ["INTERLOCK_DIR"],
            "PATH": f"{programs}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(interlock.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": os.environ["INTERLOCK_DIR"],  # gunicorn makes a socket in it, whose path must be short
            "SHELL": "/bin/sh",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def run(self, block: Block) -> None:
        source = self.with_port(block.source)
        where = f"{self.name}:{block.line}"
        if block.file:
            self.uses(source)
            (self.directory / block.file).write_text(source)
            self.unused.add(block.file)
            return
        match block.language:
            case "python" | "pycon":
                self.uses(source)
                self.terminal(block.caption).run(block, source, self.name)
            case "console":
                for command, expected in commands(source):
                    self.command(command, expected, where)
                assert self.failed is None, f"{where}: it failed, and the page does not say so: {self.failed}"
            case "c":
                self.compile(source)
            case other:
                raise AssertionError(f"{where}: nothing runs a block in {other!r}")

    def with_port(self, text: str) -> str:
        if HERE.search(text) and self.port is None:
            self.port = free_port()
        return HERE.sub(str(self.port), text)

    def uses(self, text: str) -> None:
        """Files that a command, a program or a configuration names."""
        for name in list(self.unused):
            if re.search(rf"(?<![\w.-]){re.escape(name.removesuffix('.py'))}(?![\w-])", text):
                self.unused.discard(name)

    def terminal(self, caption: str) -> Terminal:
        if caption not in self.terminals:
            self.terminals[caption] = Terminal(self.directory, self.environment)
            self.stack.callback(self.terminals[caption].close)
        return self.terminals[caption]

    def command(self, command: str, expected: str, where: str) -> None:
        self.uses(command)
        if command in NOT_RUN:
            return
        if command != "echo $?":
            assert self.failed is None, f"{where}: it failed, and the page does not say so: {self.failed}"
        self.failed = None
        if command.endswith("&"):
            assert not expected, f"{where}: it prints when it likes"
            self.background(command.removesuffix("&"))
            return
        done = subprocess.run(
            ["bash", "-c", f"(exit {self.status}); {command}"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        self.status, printed = done.returncode, done.stdout
        if self.status < 0:  # what the shell of a terminal makes of a killed command
            printed += f"{signal.strsignal(-self.status)}\n"
            self.status = 128 - self.status
        checker = doctest.OutputChecker()
        if not checker.check_output(expected, printed, OPTIONS):
            difference = checker.output_difference(doctest.Example(command, expected), printed, OPTIONS)
            raise AssertionError(f"{where}: $ {command}\n{difference}")
        if self.status:
            self.failed = f"$ {command}\n{printed}"

    def background(self, command: str) -> None:
        log = self.directory / f".background-{time.monotonic_ns()}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.stack.callback(kill_session, process)
        limit = time.monotonic() + HANG_SECONDS
        while self.port is not None and not listens(self.port):
            assert process.poll() is None, f"{self.name}: $ {command}\n{log.read_text()}"
            assert time.monotonic() < limit, f"{self.name}: $ {command}: it does not listen\n{log.read_text()}"
            time.sleep(0.01)

    def compile(self, source: str) -> None:
        code = self.directory / "block.c"
        code.write_text(f"#include <stdio.h>\n#include <interlock.h>\nint main(void)\n{{\n{source}return 0;\n}}\n")
        program = compile_program(code, self.directory / "block")
        subprocess.run([program], env=self.environment, cwd=self.directory, check=True, timeout=HANG_SECONDS)


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def commands(source: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it is to print. Lines after `> ` go on with a command."""
    found: list[tuple[str, str]] = []
    for line in source.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:].rstrip()}", "")
        else:
            assert found, f"no command before {line!r}"
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found
