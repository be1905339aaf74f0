"""Every example of the site is run, and what a page says it prints is what it prints."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.docs.pages import PAGES, ROOT, blocks
from tests.docs.running import NOT_RUN, Page, commands
from tests.scenarios.running import EXAMPLES, MISSING, beside_python, readme

if TYPE_CHECKING:
    from collections.abc import Callable

CODE = [name for name in PAGES if name != "README.md" and any(not block.directive for block in blocks(name))]

# What a page is about, where that is no part of Python.
PROGRAMS = {
    "docs/how-to/gunicorn.md": "gunicorn",
    "docs/how-to/uwsgi.md": "uwsgi",
    "docs/how-to/celery.md": "celery",
    "docs/how-to/asyncio.md": "uvicorn",
}
MODULES = {"docs/how-to/pools.md": "joblib", "docs/how-to/metrics.md": "prometheus_client"}

MARKUP = {"toctree", "eval-rst", "include", "warning", "important", "commands", "metrics", "literalinclude"}


@pytest.mark.parametrize("name", CODE)
def test_page(name, directory, tmp_path):
    if name in MODULES:
        pytest.importorskip(MODULES[name], reason=MISSING.format(MODULES[name]))
    if name in PROGRAMS and beside_python(PROGRAMS[name]) is None:
        pytest.skip(MISSING.format(PROGRAMS[name]))
    with Page(name, tmp_path) as page:
        for block in blocks(name):
            if not block.directive:
                page.run(block)
        for file in sorted(page.unused):
            CHECKS[name, file](page)


# --- files that are for programs which cannot run here: as much of them is tried as can be ---


def check_unit(page: Page) -> None:
    """The service starts what the page does, and has a directory that is the one for its spaces."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(page.directory / "shop.service")
    service = unit["Service"]
    program, _, arguments = service["ExecStart"].partition(" ")
    shown = [command for block in blocks(page.name) if block.language == "console" for command, _ in commands(block.source)]
    assert f"{Path(program).name} {arguments} &".replace(str(page.port), "8000") in shown
    assert service["Environment"] == f"INTERLOCK_DIR=/run/{service['RuntimeDirectory']}"
    locks = page.directory / "run"
    locks.mkdir(int(service["RuntimeDirectoryMode"], 8))
    assert run(page, ["interlock", "run", "count", "--", "true"], locks) == 0


def check_crontab(page: Page) -> None:
    """Each line has a time that cron knows, and a command that runs as it stands."""
    lines = [line for line in (page.directory / "crontab").read_text().splitlines() if line]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    jobs = [line for line in lines if line.split("=", 1)[0] not in settings]
    assert settings.keys() == {"PATH", "INTERLOCK_DIR"}
    assert Path(settings["INTERLOCK_DIR"]).is_absolute()
    assert len(jobs) == 3
    (page.directory / "bin").mkdir()
    for job in jobs:
        found = re.fullmatch(r"(?:@reboot|(?:(?:\*(?:/\d+)?|\d+) +){4}(?:\*|\d+)) +(interlock run .*?(bin/[\w-]+))", job)
        assert found, job
        script = page.directory / found[2]
        script.write_text("#!/bin/sh\nexit 9\n")
        script.chmod(0o755)
        assert run(page, shlex.split(found[1])) == 9


def check_compose(page: Page) -> None:
    """All services have one user, one volume and one directory, and the volume is that user's."""
    file = yaml.safe_load((page.directory / "compose.yaml").read_text())
    shared = {
        (service["user"], service["environment"]["INTERLOCK_DIR"], *service["volumes"])
        for service in file["services"].values()
    }
    [(user, place, mount)] = shared
    volume, _, where = mount.partition(":")
    assert where == place
    options = dict(each.split("=") for each in file["volumes"][volume]["driver_opts"]["o"].split(","))
    assert user == f"{options['uid']}:{options['gid']}"
    locks = page.directory / "volume"
    locks.mkdir(int(options["mode"], 8))
    assert run(page, ["interlock", "run", "orders", "--", "true"], locks) == 0


def check_pod(page: Page) -> None:
    """What the first container makes in a directory that anybody can write is what the others are given, and can use."""
    spec = yaml.safe_load((page.directory / "pod.yaml").read_text())["spec"]
    [volume] = spec["volumes"]
    [first] = spec["initContainers"]
    mounts = {
        (mount["name"], mount["mountPath"]) for each in (first, *spec["containers"]) for mount in each["volumeMounts"]
    }
    [(name, where)] = mounts
    assert name == volume["name"]
    [place] = {each["value"] for container in spec["containers"] for each in container["env"]}
    assert place == first["command"][-1]
    memory = page.directory / "memory"
    memory.mkdir()
    memory.chmod(0o777)
    locks = memory / Path(place).relative_to(where)
    assert run(page, ["interlock", "run", "orders", "--", "true"], memory) == 66
    subprocess.run([*first["command"][:-1], locks], check=True)
    assert run(page, ["interlock", "run", "orders", "--", "true"], locks) == 0


def run(page: Page, argv: list[str], locks: Path | None = None) -> int:
    environment = page.environment if locks is None else {**page.environment, "INTERLOCK_DIR": str(locks)}
    # A shell looks for it on the page's PATH.
    line = ["sh", "-c", shlex.join(argv)]
    return subprocess.run(line, cwd=page.directory, env=environment, check=False, stderr=subprocess.DEVNULL).returncode


CHECKS: dict[tuple[str, str], Callable[[Page], None]] = {
    ("docs/how-to/gunicorn.md", "shop.service"): check_unit,
    ("docs/how-to/cron.md", "crontab"): check_crontab,
    ("docs/how-to/containers.md", "compose.yaml"): check_compose,
    ("docs/how-to/containers.md", "pod.yaml"): check_pod,
}


# --- nothing is left out ---


@pytest.mark.parametrize("name", PAGES)
def test_all_blocks_are_seen(name):
    """Fences are counted in another way, too."""
    fences = re.findall(r"^[ >]*(?:```|~~~)", PAGES[name].read_text(), re.MULTILINE)
    hidden = re.findall(r"invisible-code-block", PAGES[name].read_text())
    assert len(blocks(name)) == len(fences) // 2 + len(hidden)
    assert len(fences) % 2 == 0


@pytest.mark.parametrize("name", PAGES)
def test_what_is_no_code_is_markup(name):
    assert {block.directive for block in blocks(name)} <= {"", *MARKUP}


@pytest.mark.parametrize("name", PAGES)
def test_included_code_is_run_by_tests(name):
    """By tests/scenarios, which run what examples/README.md names, or by those of the C API."""
    named = {str(path.relative_to(ROOT)) for path in programs_of_the_examples()}
    for block in blocks(name):
        if block.directive == "literalinclude":
            file = (PAGES[name].parent / block.language).resolve().relative_to(ROOT.resolve())
            assert str(file) in {*named, "examples/c_and_python/counter.c", "src/capi/interlock.h"}


def programs_of_the_examples() -> set[Path]:
    candidates = [EXAMPLES / f"{name}{ending}" for name in readme() for ending in ("", ".py", "/app.py")]
    return {path for path in candidates if path.is_file()}


def test_what_is_not_run_is_there():
    shown = {
        command
        for name in CODE
        for block in blocks(name)
        if block.language == "console"
        for command, _ in commands(block.source)
    }
    assert NOT_RUN.keys() <= shown


def test_each_check_has_its_file():
    files = {(name, block.file) for name in CODE for block in blocks(name) if block.file}
    assert CHECKS.keys() <= files
