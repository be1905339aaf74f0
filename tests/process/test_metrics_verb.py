"""`interlock metrics`: served over HTTP and printed, how it begins and how it ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import urllib.request
from contextlib import closing

import pytest

import interlock
from tests.cli import INTERLOCK, cli, environment
from tests.process.test_run_mistakes import says
from tests.support import HANG_SECONDS, HOLDER, Program, Spoken

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: pip install 'interlock[test]'")

from prometheus_client.parser import text_string_to_metric_families as parse


class Exporter(Spoken):
    """An `interlock metrics` that serves."""

    def __init__(self, *arguments: str, **options: object) -> None:
        options = {"env": environment(), **options}
        super().__init__([*INTERLOCK, "metrics", "--port", "0", *arguments], **options)
        self.url = self.line()

    def scrape(self) -> str:
        with urllib.request.urlopen(self.url, timeout=HANG_SECONDS) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return answer.read().decode()


def figures(text):
    """Name -> {metric: value}; None -> those of the space."""
    found = {}
    for family in parse(text):
        for sample in family.samples:
            found.setdefault(sample.labels.get("name"), {})[sample.name] = sample.value
    return found


def once(*arguments, **options):
    done = cli("metrics", "--once", *arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return figures(done.stdout)


# --- serving ---


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_it_is_told_to_end(space, ending):
    lock = space.Lock("orders")
    with Exporter() as exporter:
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/metrics", exporter.url)
        for number in range(3):
            assert figures(exporter.scrape())["orders"]["interlock_acquisitions_total"] == number
            with lock:
                assert figures(exporter.scrape())["orders"]["interlock_held"] == 1
        assert figures(exporter.scrape())[None] == {
            "interlock_up": 1,
            "interlock_processes": 1,  # this one: who looks is none of them
            "interlock_deadlocks": 0,
        }
        exporter.process.send_signal(ending)
        assert exporter.end() == (0, "", "")


def test_counts_of_processes_of_which_one_is_killed(space):
    visits = """
        import interlock
        for _ in range(100):
            with interlock.Lock("orders"):
                pass
    """
    with Exporter() as exporter, Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        with Program(visits) as first, Program(visits) as second:
            holder.kill()
            for program in (first, second):
                assert program.end() == (0, "", "")
        with space.Lock("orders"):
            seen = figures(exporter.scrape())["orders"]
    assert seen["interlock_acquisitions_total"] == 202
    assert seen["interlock_recoveries_total"] == 1


def test_the_space_comes_goes_and_comes_again(directory):
    """And whoever makes it anew is not kept from it by the exporter."""
    file = directory / f"interlock-{os.geteuid()}-default.ilk"
    with Exporter() as exporter:
        for _ in range(2):
            assert figures(exporter.scrape()) == {None: {"interlock_up": 0}}
            with Program(HOLDER, "orders") as holder:
                assert holder.line() == "held"
                assert figures(exporter.scrape())["orders"]["interlock_held"] == 1
                holder.say()
                assert holder.line() == "released"
            file.unlink()
        assert figures(exporter.scrape()) == {None: {"interlock_up": 0}}
        exporter.process.terminate()
        status, out, err = exporter.end()
    assert (status, out) == (0, "")
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("interlock: shm:default cannot be read: ") for line in lines)


def test_a_path_that_is_hostile_to_terminals(directory):
    with Exporter(env=environment(INTERLOCK_DIR=str(directory / "\x1b[2J"))) as exporter:
        assert figures(exporter.scrape()) == {None: {"interlock_up": 0}}
        exporter.process.terminate()
        status, _, err = exporter.end()
    assert status == 0
    assert err.rstrip("\n").isprintable()


def test_what_it_does_not_serve(space):
    with Exporter() as exporter:
        host, port = exporter.url.split("/")[2].split(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=HANG_SECONDS)) as connection:
            connection.request("POST", "/metrics", "x" * 10)
            assert connection.getresponse().status == http.client.METHOD_NOT_ALLOWED
        with socket.create_connection((host, int(port))) as idle:
            idle.sendall(b"\x00\xff garbage\r\n\r\n")
            idle.recv(100)
        assert figures(exporter.scrape())[None]["interlock_up"] == 1


def test_who_scrapes_may_go_at_any_time(space):
    _kept = [space.Semaphore(f"{number:0200}") for number in range(2000)]
    with Exporter() as exporter:
        host, port = exporter.url.split("/")[2].split(":")
        for _ in range(5):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert connection.recv(10)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, at once
        assert len(figures(exporter.scrape())) == 1 + 2000
        exporter.process.terminate()
        assert exporter.end()[0] == 0


def test_an_address_of_ipv6(space):
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no IPv6: {error}")
    with Exporter("--address", "::1") as exporter:
        assert exporter.url.startswith("http://[::1]:")
        assert figures(exporter.scrape())[None]["interlock_up"] == 1


def test_a_port_in_use(directory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = says(cli("metrics", "--port", port), os.EX_UNAVAILABLE)
    assert line == f"interlock: cannot listen at 127.0.0.1, port {port}: Address already in use"


@pytest.mark.parametrize("address", ["256.0.0.1", "no.such.host.invalid", "a..b", "x" * 300, "\x1b[2J"])
def test_an_address_that_is_none(directory, address):
    assert "cannot listen at " in says(cli("metrics", "--port", "0", "--address", address), os.EX_UNAVAILABLE)


def test_a_url_that_is_none(directory):
    says(cli("metrics", "--port", "0", "--space", "redis://somewhere"), os.EX_USAGE)
    says(cli("metrics", "--port", "0", env=environment(INTERLOCK_SPACE="redis://somewhere")), os.EX_USAGE)


def test_a_signal_that_is_ignored(space):
    """As in a shell's background job, which Ctrl-C is not meant for."""
    with Exporter(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) as exporter:
        exporter.process.send_signal(signal.SIGINT)
        assert figures(exporter.scrape())[None]["interlock_up"] == 1
        exporter.process.terminate()
        assert exporter.end() == (0, "", "")


# --- printed ---


def test_once(space):
    with space.Lock("orders"):
        found = once()
    assert found["orders"]["interlock_held"] == 1
    assert found[None]["interlock_processes"] == 1


def test_a_choice(space):
    _kept = space.Semaphore("order-1"), space.Semaphore("stock"), space.Semaphore("other"), space.Semaphore()
    assert set(once()) == {None, "order-1", "stock", "other"}
    assert set(once("--match", "order-*", "--match", "stock")) == {None, "order-1", "stock"}
    assert len(once("--all")) == 5


def test_another_space(directory):
    _there = interlock.Space("shm:there").Semaphore("x")
    assert set(once("--space", "shm:there")) == {None, "x"}
    assert set(once(env=environment(INTERLOCK_SPACE="shm:there"))) == {None, "x"}


def test_a_reader_that_goes(space):
    _kept = [space.Semaphore(f"{number:0200}") for number in range(1000)]
    with subprocess.Popen(
        [*INTERLOCK, "metrics", "--once"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as printing:
        assert printing.stdout.readline().startswith("# HELP interlock_up")
        printing.stdout.close()
        assert printing.stderr.read() == ""
        assert printing.wait(HANG_SECONDS) == -signal.SIGPIPE


@pytest.mark.parametrize("closed", [">&-", ">/dev/full"])
def test_nowhere_to_write(closed, space):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *INTERLOCK, "metrics", "--once"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert "cannot write to stdout" in says(done, os.EX_IOERR)


# --- what is missing ---


@pytest.mark.parametrize("words", [(), ("--once",)])
def test_without_prometheus_client(words, directory):
    python, interlock_itself = INTERLOCK
    done = subprocess.run(
        [python, "-S", interlock_itself, "metrics", *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    line = says(done, os.EX_UNAVAILABLE)
    assert line == "interlock: interlock.metrics needs prometheus_client: pip install 'interlock[prometheus]'"
    assert list(directory.iterdir()) == []
