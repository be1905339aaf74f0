"""`interlock completion`: in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

import interlock
from tests.cli import INTERLOCK, cli, environment
from tests.support import HANG_SECONDS
from tests.terminal import Terminal


@pytest.fixture
def names(space):
    """Names that are there, some of which a shell has to quote."""
    kept = [
        space.Semaphore(name) for name in ("orders", "order book", "job:1", "job:2", "it's", "$HOME", "-n", "two\nlines")
    ]
    kept.append(space.Semaphore())  # whose name nobody wants to type
    return kept


@pytest.fixture
def shells(tmp_path):
    """An environment in which `interlock` is the command."""
    script = tmp_path / "interlock"
    script.write_text(f'#!/bin/sh\nexec {INTERLOCK[0]} {INTERLOCK[1]} "$@"\n')
    script.chmod(0o700)
    return environment(PATH=f"{tmp_path}:{os.environ['PATH']}", HOME=str(tmp_path))


def needs(shell):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed; .ci/run installs it")
    return path


def words(*given):
    done = cli("completion", "--words", "--", "interlock", *given)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def in_shell(shells, *argv):
    """The lines that a shell prints."""
    done = subprocess.run(argv, env=shells, capture_output=True, text=True, timeout=HANG_SECONDS, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_commands_and_options(names):
    assert words("sh") == ["show"]
    assert words("--v") == ["--version"]
    assert "--json" in words("list", "-")
    assert "-h" in words("list", "-")
    assert words("completion", "f") == ["fish"]
    assert words("completion", "--") == ["--help"]  # and not what is for the scripts
    assert words("no such command", "") == []
    assert words("run", "--kind", "") == ["lock", "rwlock"]
    assert words("run", "--no") == ["--nonblock", "--nonblocking"]  # and not --no-fork, which is refused
    assert words("top", "--interval", "") == []


def test_names(names):
    assert words("show", "or") == ["order book", "orders"]
    assert words("unlink", "orders", "job") == ["job:1", "job:2"]
    assert words("run", "-x", "-w", "3", "ord") == words("break", "-y", "ord") == ["order book", "orders"]
    assert words("run", "orders", "ord") == []  # the command is the shell's
    assert words("run", "orders", "--", "ord") == []
    assert words("show", "--", "-") == ["-n"]
    assert words("show", "tw") == words("show", "anon") == []


def test_names_of_another_space(names, directory):
    kept = interlock.Space("shm:other").Semaphore("elsewhere")
    assert words("show", "--space", "shm:other", "") == ["elsewhere"]
    assert words("show", "--space", "shm:nowhere", "") == words("show", "--space", "no url", "") == []
    kept.release()


@pytest.mark.parametrize(
    ("line", "replies"),
    {
        "interlock sho": ["show"],
        "interlock show ord": ["'order book'", "orders"],
        "interlock show job:": ["1", "2"],  # bash has taken note of what is before the colon
        "interlock show job": ["job:1", "job:2"],
        "interlock show it": ["""'it'"'"'s'"""],
        "interlock show '": [],
        "interlock run orders ech": [],
    }.items(),
)
def test_bash(names, shells, line, replies):
    script = (
        'eval "$(interlock completion bash)"; COMP_LINE=$1; COMP_POINT=${#1}; _interlock; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    printed = in_shell(shells, needs("bash"), "--norc", "-c", script, "bash", line)
    assert [reply for reply in printed if reply] == replies


@pytest.mark.parametrize(
    ("line", "replies"), {"interlock sho": ["show"], "interlock show ord": ["order book", "orders"]}.items()
)
def test_fish(names, shells, line, replies):
    printed = in_shell(
        shells, needs("fish"), "--no-config", "-c", "interlock completion fish | source; complete -C $argv[1]", line
    )
    assert [reply.split("\t")[0] for reply in printed] == replies


# What is typed is printed rather than done, but for what the script asks.
PRINTING = "interlock() { if [[ $1 = completion ]]; then command interlock $@; else printf '<%s>' $@; fi }"


@pytest.mark.parametrize(
    ("line", "ran"),
    {
        "interlock sho\t": "<show>",
        "interlock show 'order b\t": "<show><order book>",
        "interlock show job:\t1": "<show><job:1>",
    }.items(),
)
def test_zsh(names, shells, line, ran):
    with Terminal("-f", "-i", program=[needs("zsh")], PATH=shells["PATH"], HOME=shells["HOME"], PS1="ready> ") as terminal:
        terminal.until("ready> ")
        terminal.type(
            f'autoload -U compinit; compinit -u -D; eval "$(interlock completion zsh)"; {PRINTING}; echo do""ne\n'
        )
        terminal.until("\ndone")
        terminal.until("ready> ")
        terminal.type(f"{line}\n")
        terminal.until(ran)


def test_mistakes(space):
    for given in ([], ["--words", "interlock"], ["tcsh"]):
        done = cli("completion", *given)
        assert (done.returncode, done.stdout) == (os.EX_USAGE, "")
        assert "bash" in done.stderr
