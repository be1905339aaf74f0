"""The README's examples. Its shell lines name programs that are not there, so stand-ins are put in their place."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

import dev
import interlock
from tests.cli import Holder, cli
from tests.docs.pages import blocks
from tests.docs.running import NOT_RUN, Page
from tests.support import HANG_SECONDS
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCKS = blocks("README.md")
LANGUAGES = {"python", "sh", "c", ""}
STAND_INS = ("import-orders", "backup", "report", ".bin/ffmpeg")

LINES = [
    re.sub(r"\s+# .*", "", line)
    for block in BLOCKS
    if block.language == "sh"
    for line in block.source.splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture
def page(directory, tmp_path) -> Iterator[Page]:
    with Page("README.md", tmp_path) as page:
        for name in STAND_INS:
            script = tmp_path / name
            script.write_text("#!/bin/sh\n")
            script.chmod(0o755)
        (tmp_path / "queue").write_text("one\ntwo\n")
        (tmp_path / "program.c").write_text(
            "#include <interlock.h>\nint main(void) { return interlock_strerror(0) == 0; }\n"
        )
        yield page


def test_each_block_has_a_rule():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert not any(block.directive for block in BLOCKS)


def test_python_and_c(page):
    for module in ("numpy", "prometheus_client", "opentelemetry"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'interlock[test]'")
    for block in BLOCKS:
        if block.language in ("python", "c"):
            page.run(block)


def set_up_again(page: Page, line: str) -> None:
    """It would set up an environment, and run what runs this: dev.py knows the command."""
    assert line.split()[2] in dev.COMMANDS


def break_it(page: Page, line: str) -> None:
    with Holder("orders") as holder, Terminal(*line.split()[1:]) as terminal:
        terminal.until("[y/N]")
        terminal.type("y\r")
        assert terminal.end()[0] == 0
        holder.say()
        assert "was taken from this process" in holder.end()[2]


def quit_it(page: Page, line: str) -> None:
    with Terminal(*line.split()[1:]) as terminal:
        terminal.until("\x1b[H")
        terminal.type("q")
        assert terminal.end()[0] == 0


OTHERWISE: dict[str, Callable[[Page, str], None]] = {
    "python3 dev.py selftest": set_up_again,
    "python3 dev.py test": set_up_again,
    "interlock break orders": break_it,
    "interlock top": quit_it,
}
QUICKER = {
    "--seconds 10": "--seconds 0.1",
    "interlock bench": "interlock bench --quick",
    "interlock metrics": "interlock metrics --once",
}


@pytest.mark.parametrize("line", LINES)
def test_shell_line(line, page):
    """As it stands, with a name that it may tell of."""
    with interlock.Space("shm:default") as space, space.Lock("orders"):
        pass
    if line in NOT_RUN:
        return
    if line in OTHERWISE:
        OTHERWISE[line](page, line)
        return
    for shown, quicker in QUICKER.items():
        line = line.replace(shown, quicker)
    done = subprocess.run(
        ["bash", "-c", line.replace(" …", "")],
        cwd=page.directory,
        env=page.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_the_selftest_prints(directory):
    """The same but for the figures, and the line above it that says where they are from."""
    [shown] = [block.source for block in BLOCKS if block.language == ""]
    done = cli("selftest", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shape(shown) == shape(done.stdout)


def shape(text: str) -> list[str]:
    return [" ".join(re.sub(r"[\d.,]*\d", "0", line).split()) for line in text.splitlines() if line.strip()]
