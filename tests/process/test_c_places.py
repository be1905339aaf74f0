"""Programs in C and in Python meet in the same file, by a rule that is written twice: in place.c and in space.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import uuid

import pytest

import interlock
from tests.c_programs import ROOT, CProgram, compile_program
from tests.support import HANG_SECONDS

URLS = [
    "",  # the default space
    "shm:default",
    "shm:a/b",
    "shm:.",
    "shm:..",
    "shm:ä€🔒",
    "shm:%41 A-_.~",
    "shm:a:b",
    "shm:\x01\x7f",
    "shm:" + "x" * 200,
    "shm:" + "x" * 201,
    "shm:" + "ä" * 33,
    "shm:" + "ä" * 34,
    "shm:",
    "shm",
    "SHM:x",
    " shm:x",
    "redis://x",
]

PYTHON = """
    import interlock, json, os, sys
    for url in json.loads(sys.argv[1]):
        try: print(interlock.Space(url or None).path)
        except (ValueError, interlock.SpaceError): print("refused")
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    return compile_program(ROOT / "tests" / "capi" / "peer.c", tmp_path_factory.mktemp("made") / "peer")


def in_c(peer, urls, **environment):
    with CProgram(peer, "places", **environment) as program:
        for url in urls:
            program.say(url)
        program.process.stdin.close()
        lines = program.process.stdout.read().splitlines()
        assert program.process.wait(HANG_SECONDS) == 0, program.process.stderr.read()
    return lines


def in_python(urls, **environment):
    command = [sys.executable, "-c", textwrap.dedent(PYTHON), json.dumps(urls)]
    return subprocess.check_output(command, env={**os.environ, **environment}, text=True, timeout=HANG_SECONDS).splitlines()


def agreed(peer, urls, **environment):
    python, c = in_python(urls, **environment), in_c(peer, urls, **environment)
    assert c == python
    return c


def test_urls(directory, peer):
    places = agreed(peer, URLS)
    long = {"shm:" + "x" * 201, "shm:" + "ä" * 34}
    refused = {url for url, place in zip(URLS, places, strict=True) if place == "refused"}
    assert refused == {*long, "shm:", "shm", "SHM:x", " shm:x", "redis://x"}
    assert places[0] == places[1] == f"{directory}/interlock-{os.geteuid()}-default.ilk"


@pytest.mark.parametrize("url", ["", "shm:other", "shm:ö", "orders", "shm:"])
def test_default_space(directory, peer, url):
    (place,) = agreed(peer, [""], INTERLOCK_SPACE=url)
    assert (place == "refused") == (url in ("orders", "shm:"))


def test_directories(directory, peer, tmp_path):
    base = directory.resolve()
    modes = {"plain": 0o755, "open": 0o777, "sticky": 0o1777, "group": 0o770, "ä b": 0o700, "none": 0o500}
    for name, mode in modes.items():
        (base / name).mkdir()
        (base / name).chmod(mode)
    (base / "link").symlink_to("plain")
    (base / "file").touch()
    good = ["plain", "sticky", "ä b", "link", "plain/", "plain/../sticky", "./plain//"]
    bad = ["open", "group", "file", "missing", "link/missing"]
    for name in good:
        assert agreed(peer, ["shm:x"], INTERLOCK_DIR=f"{base}/{name}") != ["refused"], name
    for name in bad:
        assert agreed(peer, ["shm:x"], INTERLOCK_DIR=f"{base}/{name}") == ["refused"], name
    for relative in (".", "spaces", "~"):
        assert agreed(peer, ["shm:x"], INTERLOCK_DIR=relative) == ["refused"]
    if os.geteuid() != 0:  # whom a mode does not keep out
        assert agreed(peer, ["shm:x"], INTERLOCK_DIR=f"{base}/none") == ["refused"]
    else:
        os.chown(base / "plain", 65534, 65534)
        assert agreed(peer, ["shm:x"], INTERLOCK_DIR=f"{base}/plain") == ["refused"]


@pytest.mark.parametrize("slots", ["", "1", "007", "65535", "0", "65536", "-1", "1.5", "x", "\uff11"])
def test_slots(directory, peer, slots):
    places = in_c(peer, ["shm:c"], INTERLOCK_SLOTS=slots) + in_python(["shm:python"], INTERLOCK_SLOTS=slots)
    assert places.count("refused") == (0 if slots in ("", "1", "007", "65535") else 2)
    if slots == "007":
        assert {interlock.Space(url)._describe()[1] for url in ("shm:c", "shm:python")} == {8}


def test_without_a_setting(peer):
    """In /dev/shm, where it is there."""
    url = f"shm:interlock-test-{uuid.uuid4()}"
    try:
        (place,) = agreed(peer, [url], INTERLOCK_DIR="", XDG_RUNTIME_DIR="", TMPDIR="")
        assert os.path.dirname(place) in (os.path.realpath("/dev/shm"), os.path.realpath("/tmp"))
    finally:
        if os.path.exists(place):
            os.unlink(place)


def test_where_shm_is_read_only(peer, tmp_path):
    """Then $XDG_RUNTIME_DIR, then the directory for temporary files."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no permission to make a mount namespace")
    command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"', "sh"]
    url = f"shm:interlock-test-{uuid.uuid4()}"
    for name in ("runtime", "t1", "t2", "t3"):
        (tmp_path / name).mkdir(mode=0o700)
    places = {"XDG_RUNTIME_DIR": "runtime", "TMPDIR": "t1", "TEMP": "t2", "TMP": "t3"}
    given = {name: str(tmp_path / place) for name, place in places.items()}
    for first in ["runtime", "t1", "t2", "t3", None]:
        environment = {**os.environ, "INTERLOCK_DIR": "", **given}
        c = subprocess.check_output([*command, peer, "places"], input=url + "\n", env=environment, text=True).strip()
        program = f"import interlock; print(interlock.Space({url!r}).path)"
        python = subprocess.check_output([*command, sys.executable, "-c", program], env=environment, text=True).strip()
        try:
            assert c == python
            assert os.path.dirname(c) == (str(tmp_path / first) if first else os.path.realpath("/tmp"))
        finally:
            os.unlink(c)
        for name, place in list(given.items()):
            if first and place == str(tmp_path / first):
                given[name] = ""
