"""`interlock bench` and `interlock selftest`: what they print, and that they leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from tests.cli import INTERLOCK, cli, environment
from tests.support import HANG_SECONDS, until

LOCKS = {"threading.Lock", "multiprocessing.Lock", "interlock.Lock", "interlock.RWLock.read", "flock"}


def test_json(directory):
    done = cli("bench", "--quick", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["processors"] == len(os.sched_getaffinity(0))
    assert {row["lock"] for row in report["prices"]} >= LOCKS
    # Less an empty loop's: a figure of 0 would say that nothing was measured.
    assert all(0 < row[column] < 1e6 for row in report["prices"] for column in ("with_ns", "pair_ns"))
    assert {(row["lock"], row["processes"]) for row in report["rates"]} == {
        (lock, crowd) for lock in ("multiprocessing.Lock", "flock", "interlock.Lock") for crowd in (1, 2, 4, 8)
    }
    assert all(row["per_second"] > 100 for row in report["rates"])
    assert list(directory.iterdir()) == []


def test_tables(directory):
    done = cli("bench", "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    prices, rates = done.stdout.split("All of them at once")
    by_lock = {line.split()[0]: line.split()[1:] for line in prices.splitlines()[3:] if line}
    assert set(by_lock) >= LOCKS
    assert by_lock["threading.Lock"][1::2] == ["1.00", "1.00"]
    assert len(by_lock["flock"]) == 2  # threading has nothing like it
    assert "8 PROCESSES" in rates
    assert "interlock.Lock" in rates


def test_it_is_interrupted(directory):
    with subprocess.Popen(
        [*INTERLOCK, "bench"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as bench:
        until(lambda: list(directory.iterdir()) != [])
        os.killpg(bench.pid, signal.SIGINT)  # as a terminal does
        out, err = bench.communicate(timeout=HANG_SECONDS)
    assert (bench.returncode, out, err) == (130, "", "")
    assert list(directory.iterdir()) == []


def test_no_space_can_be_made(tmp_path):
    done = cli("bench", "--quick", env=environment(INTERLOCK_DIR=str(tmp_path / "nowhere")))
    assert (done.returncode, done.stdout) == (os.EX_NOINPUT, "")
    assert "nowhere" in done.stderr


def test_selftest(directory):
    done = cli("selftest", "--quick", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    none, _, ours = report["counts"]
    assert report["passed"]
    assert ours["lost"] == 0
    assert ours["counted"] == none["expected"]
    assert report["kills"]["killed"] == report["kills"]["recovered"] == report["kills"]["told"] == 6
    assert [price["lock"] for price in report["prices"]] == ["threading.Lock", "multiprocessing.Lock", "interlock.Lock"]
    assert list(directory.iterdir()) == []
