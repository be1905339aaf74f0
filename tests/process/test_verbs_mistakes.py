"""The commands that look at a space, and what is wrong: wrong use, spaces that cannot be used. None makes one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from interlock.cli import VERBS as EVERY_VERB
from interlock.cli import folded
from tests.cli import UNUSABLE, cli, environment, unusable_space
from tests.process.test_run_mistakes import says
from tests.support import HANG_SECONDS

VERBS = [
    ("list",),
    ("list", "--json"),
    ("metrics", "--once"),
    ("show", "orders"),
    ("unlink", "orders"),
    ("graph",),
    ("graph", "orders", "--format", "svg"),
    ("record", "-o", "-"),
]
WRONG = {
    ("list", "--bogus"): "unrecognized arguments: --bogus",
    ("list", "orders"): "unrecognized arguments: orders",
    ("list", "--jso"): "unrecognized arguments: --jso",
    ("list", "--space"): "--space: expected one argument",
    ("metrics", "--bogus"): "unrecognized arguments: --bogus",
    ("metrics", "orders"): "unrecognized arguments: orders",
    ("metrics", "--port", "65536"): "--port: a number from 0 to 65535, not '65536'",
    ("metrics", "--port", "-1"): "--port: a number from 0 to 65535, not '-1'",
    ("metrics", "--port", "٣"): "not '٣'",
    ("metrics", "--port", "9" * 5000): "a number from 0 to 65535",
    ("metrics", "--address", ""): "--address: an empty one would be all there are",
    ("metrics", "--match"): "--match: expected one argument",
    ("top", "--interval", "0"): "--interval: seconds from 0.1 to 86400 (2, 0.5), not '0'",
    ("top", "--interval", "inf"): "not 'inf'",
    ("top", "--interval", "x\n"): "not 'x\\n'",
    ("top", "orders"): "unrecognized arguments: orders",
    ("graph", "--format", "png"): "--format: invalid choice: 'png'",
    ("graph", "--match"): "--match: expected one argument",
    ("graph", "-o", "waits.PNG"): "-o: .png is for Graphviz to make ('interlock graph | dot -Tpng > FILE'), or take .svg",
    ("record", "--seconds", "0"): "--seconds: seconds from 0.01 to 86400, not '0'",
    ("record", "--seconds", "1e3"): "not '1e3'",
    ("record", "--interval", "0.5"): "--interval: milliseconds from 1 to 60000, not '0.5'",
    ("record", "--interval", "\u0661"): "not '\u0661'",
    ("record", "orders"): "unrecognized arguments: orders",
    ("unlink",): "the following arguments are required: NAME",
    ("unlink", "--force", "a"): "unrecognized arguments: --force",
    ("show",): "the following arguments are required: NAME",
    ("show", "a", "b"): "unrecognized arguments: b",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_use(words, directory):
    line = says(cli(*words), os.EX_USAGE)
    assert WRONG[words] in line
    assert line.endswith(f"see 'interlock {words[0]} --help'")
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("verb", sorted({words[0] for words in VERBS}))
def test_help(verb, directory):
    done = cli(verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: interlock {verb} ")


@pytest.mark.parametrize("columns", [40, 80, 500])
def test_help_fits_the_terminal(columns, directory):
    """But for what is there to be copied."""
    for words in [(), *((verb,) for verb in EVERY_VERB)]:
        text = cli(*words, "--help", env=environment(COLUMNS=str(columns))).stdout
        usage, _, rest = text.partition("\n\n")
        lines = [line for line in rest.splitlines() if not line.startswith("    ") or line.startswith("     ")]
        assert max(map(len, lines)) <= columns
        assert usage.lower().startswith("usage: interlock")


def test_a_help_is_folded():
    copied = "\n    a | b > c  # as it stands, however long\n"
    text = f"Many\nwords.\n\n  one, two, three, four, five\n  name  what it is,\n        and more\n{copied}"
    assert folded(text, 32) == f"Many words.\n\n  one, two, three, four, five\n  name  what it is, and more\n{copied}"
    assert folded(text, 24) == (
        f"Many words.\n\n  one, two, three, four,\n    five\n  name\n        what it is, and\n        more\n{copied}"
    )
    assert folded(text, -1) == folded(text, 24)


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("url", ["", "shm:", "redis://somewhere", "shm:\x1b[2J" + "x" * 300, "shm:\udcff"])
def test_spaces_that_are_none(words, url, directory):
    says(cli(*words, "--space", url), os.EX_USAGE)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("words", VERBS)
def test_a_space_that_nobody_made(words, directory):
    line = says(cli(*words, "--space", "shm:other"), os.EX_NOINPUT)
    assert f"the space at {directory}/interlock-{os.geteuid()}-other.ilk does not exist" in line
    assert "does not exist" in says(cli(*words), os.EX_NOINPUT)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("words", VERBS)
def test_no_directory(words, directory):
    line = says(cli(*words, env=environment(INTERLOCK_DIR=str(directory / "none\n"))), os.EX_NOINPUT)
    assert "No such file" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("words", VERBS)
def test_no_permission(words, directory, space):
    """It becomes another user only after its imports: that one may not be able to read the package."""
    code = (
        "import importlib, interlock.metrics, json, locale, os, shutil, sys, unicodedata\n"
        "from interlock.cli import main\n"
        "importlib.import_module(f'interlock.cli.{sys.argv[1]}')\n"
        "os.setgid(65534), os.setuid(65534)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    directory.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert "no permission to write" in says(done, os.EX_NOINPUT)


@pytest.mark.parametrize("words", VERBS)
@pytest.mark.parametrize("how", UNUSABLE)
def test_space_of_another_version(words, how, directory):
    file = unusable_space(directory, how)
    before = file.read_bytes()
    assert "left as it " in says(cli(*words), os.EX_DATAERR)
    assert file.read_bytes() == before
