"""What a Prometheus registry is told of each kind, of several processes, and of spaces that are not there."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

import interlock
from tests.cli import UNUSABLE, environment, unusable_space, without_packages
from tests.support import HANG_SECONDS, HOLDER, Program, Task, in_child, sleeping, until

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: pip install 'interlock[test]'")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

COUNTED = {"acquisitions_total", "contended_total", "recoveries_total", "waited_seconds_total", "held", "waiters"}


def registry(space="shm:default", **options):
    """Not of None: which space that is, this process has settled in another test."""
    made = CollectorRegistry()
    made.register(interlock.metrics.Collector(space, **options))
    return made


def scrape(registry):
    """(metric, without interlock_; labels) -> value."""
    return samples(parse(generate_latest(registry).decode()))


def samples(families):
    found = {}
    for family in families:
        for sample in family.samples:
            key = sample.name.removeprefix("interlock_"), *sorted(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def of(name, scraped):
    """Metric -> value, of a name."""
    return {key[0]: value for key, value in scraped.items() if ("name", name) in key}


def total(metric, scraped):
    (value,) = [value for key, value in scraped.items() if key[0] == metric]
    return value


def test_labels(space):
    with space.Lock("orders"):
        found = scrape(registry())
    assert found["held", ("kind", "Lock"), ("name", "orders"), ("space", "shm:default")] == 1
    assert found["up", ("space", "shm:default")] == 1
    assert found["processes", ("space", "shm:default")] == 1
    assert found["deadlocks", ("space", "shm:default")] == 0


def test_each_kind(space):
    lock, rlock, changed = space.Lock("a"), space.RLock("b"), space.Condition("c")
    table, downloads = space.RWLock("d"), space.BoundedSemaphore("e", 3)
    value, array = space.Value("f", "i"), space.Array("g", "i", 2)
    _others = space.Semaphore("h", 5), space.Event("i"), space.Barrier("j", 2)
    reg = registry()
    for thing in (lock, rlock, changed, table.write, value, array):
        for held in (False, True):
            if held:
                thing.acquire()
            figures = of("d" if thing is table.write else thing.name, scrape(reg))
            assert figures.pop("readers", 0) == 0
            assert set(figures) == COUNTED
            assert (figures["held"], figures["acquisitions_total"]) == (held, held)
    table.write.release()
    with table.read, table.read, downloads, downloads:
        found = scrape(reg)
        assert (of("d", found)["held"], of("d", found)["readers"]) == (1, 2)
        assert of("e", found) == {"held": 1, "permits": 3, "permits_free": 1, "waiters": 0}
    found = scrape(reg)
    assert (of("d", found)["held"], of("d", found)["readers"]) == (0, 0)
    assert of("e", found) == {"held": 0, "permits": 3, "permits_free": 3, "waiters": 0}
    assert of("h", found) == {"permits_free": 5, "waiters": 0}
    assert of("i", found) == of("j", found) == {"waiters": 0}


def test_the_figures_are_those_of_statistics(space):
    lock = space.Lock("orders")
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        waiter = sleeping(lock.acquire)
        until(lambda: lock.waiters)
        assert of("orders", scrape(registry()))["waiters"] == 1
        holder.kill()
        assert waiter.result() is True
    lock.release()
    figures, counts = of("orders", scrape(registry())), lock.statistics()
    assert counts.recoveries == counts.contended == 1
    assert counts.waited > 0
    assert figures == {
        "acquisitions_total": counts.acquisitions,
        "contended_total": counts.contended,
        "recoveries_total": counts.recoveries,
        "waited_seconds_total": counts.waited,
        "held": 0,
        "waiters": 0,
    }


def test_whoever_is_asked_says_the_same(space):
    """This process, and children of its: also of one that was killed while it held the lock."""
    lock, reg = space.Lock("orders"), registry()
    visit = """
        import interlock, sys
        lock = interlock.Lock("orders")
        for _ in range(int(sys.argv[1])):
            with lock:
                pass
        print("done", flush=True)
        sys.stdin.readline()
    """

    def counts():
        figures = of("orders", scrape(reg))
        return figures["acquisitions_total"], figures["recoveries_total"], figures["held"]

    with Program(visit, 100) as first, Program(visit, 200) as second:
        assert first.line() == second.line() == "done"
        with Program(HOLDER, "orders") as holder:
            assert holder.line() == "held"
            assert total("processes", scrape(reg)) == 4
            assert counts() == (301, 0, 1)
            holder.kill()
        assert total("processes", scrape(reg)) == 3
        assert in_child(counts) == repr((301.0, 1.0, 0.0))
        assert counts() == (301, 1, 0)
        with lock:
            assert in_child(counts) == repr((302.0, 1.0, 1.0))


def test_a_deadlock(space):
    locks = [space.Lock("one"), space.Lock("other")]
    both = threading.Barrier(2)

    def take(first, second):
        with first:
            both.wait()
            if second.acquire(timeout=HANG_SECONDS):
                second.release()

    tasks = [Task(take, *locks), Task(take, *reversed(locks))]
    reg = registry()
    until(lambda: total("deadlocks", scrape(reg)) == 1)
    space.break_lock("one")
    for task in tasks:
        with contextlib.suppress(interlock.NotHeld):
            task.result()
    assert total("deadlocks", scrape(reg)) == 0


# --- which names ---


def test_a_choice_of_names(space):
    _kept = [space.Semaphore(name) for name in ("order-1", "order-2", "stock", "Stock", "a*b")]
    found = scrape(registry(names="order-*"))
    assert {dict(key[1:])["name"] for key in found if "name" in dict(key[1:])} == {"order-1", "order-2"}
    found = scrape(registry(names=["stock", "a[*]b"]))
    assert {dict(key[1:])["name"] for key in found if "name" in dict(key[1:])} == {"stock", "a*b"}


def test_anonymous_ones_only_when_asked_for(space):
    made_up = space.Semaphore()
    assert of(made_up.name, scrape(registry())) == {}
    assert of(made_up.name, scrape(registry(anonymous=True))) == {"permits_free": 1, "waiters": 0}


HOSTILE = [
    'quo"te',
    "back\\slash",
    "back\\nslash",
    "line\nbreak",
    "carriage\rreturn",
    'x"} 1\ninterlock_up{space="shm:default"} 0',
    "\x1b[2J\x1b]0;title\x07",
    "\u202eevil",
    "שלום",
    "\u2028\u0085",
    "# HELP x",
    " ",
    "\ufeff",
    "é" * 127,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(space, name):
    _kept = space.Semaphore(name, 7)
    reg = registry()
    assert of(name, scrape(reg)) == {"permits_free": 7, "waiters": 0}
    assert of(name, samples(parse_openmetrics(generate_openmetrics(reg).decode()))) == {"permits_free": 7, "waiters": 0}


def test_a_name_that_begins_anew(space):
    """A counter's reset."""
    lock, reg = space.Lock("orders"), registry()
    for _ in range(3):
        with lock:
            pass
    assert of("orders", scrape(reg))["acquisitions_total"] == 3
    space.unlink("orders")
    assert of("orders", scrape(reg)) == {}
    with lock:
        assert of("orders", scrape(reg))["acquisitions_total"] == 1


# --- which space ---


def test_several_spaces(directory):
    one, two = interlock.Space("shm:one"), interlock.Space("shm:two")
    _kept = one.Semaphore("x", 1), two.Semaphore("x", 2)
    found = scrape(registry([one, "shm:two"]))
    values = {dict(key[1:])["space"]: value for key, value in found.items() if key[0] == "permits_free"}
    assert values == {"shm:one": 1, "shm:two": 2}


def test_a_scrape_makes_nothing(directory, caplog):
    reg = registry()
    assert scrape(reg) == {("up", ("space", "shm:default")): 0}
    assert list(directory.iterdir()) == []


def test_describe_needs_no_space(directory):
    collector = interlock.metrics.Collector("shm:none")
    described = {family.name: family.type for family in collector.describe()}
    assert described["interlock_acquisitions"] == "counter"
    assert all(family.samples == [] for family in collector.describe())
    assert set(described) == {family.name for family in collector.collect()}
    reg = CollectorRegistry()
    reg.register(collector)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        reg.register(interlock.metrics.Collector("shm:other"))


def test_why_is_logged_once(directory, caplog):
    collector = interlock.metrics.Collector("shm:default")
    reg = CollectorRegistry()
    reg.register(collector)
    for _ in range(3):
        assert total("up", scrape(reg)) == 0
    assert [record.name for record in caplog.records] == ["interlock.metrics"]
    assert "shm:default cannot be read: " in caplog.text
    assert "does not exist" in caplog.text
    assert isinstance(collector.trouble["shm:default"], interlock.SpaceUnavailable)
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        found = scrape(reg)
        assert (total("up", found), total("processes", found), of("orders", found)["held"]) == (1, 1, 1)
    assert collector.trouble == {}


def test_a_space_made_anew(directory):
    """By programs that come after it was deleted: whoever only looks does not keep them from it."""
    reg = registry("shm:default")
    file = directory / f"interlock-{os.geteuid()}-default.ilk"
    for _ in range(2):
        with Program(HOLDER, "orders") as holder:
            assert holder.line() == "held"
            found = scrape(reg)
            assert of("orders", found)["acquisitions_total"] == 1
        with open("/proc/self/maps") as maps:
            assert str(file) not in maps.read()
        file.unlink()
        assert total("up", scrape(reg)) == 0


def test_a_space_that_was_deleted_in_use(space):
    """This process uses it, and so does its Space: what it would count is no longer the others'."""
    lock = space.Lock("orders")
    regs = [registry(), registry(space)]
    with lock:
        for reg in regs:
            assert of("orders", scrape(reg))["held"] == 1
        os.unlink(space.path)
        for reg in regs:
            assert scrape(reg) == {("up", ("space", "shm:default")): 0}


@pytest.mark.parametrize("how", UNUSABLE)
def test_a_space_of_another_version(directory, how, caplog):
    file = unusable_space(directory, how)
    before = file.read_bytes()
    assert scrape(registry("shm:default")) == {("up", ("space", "shm:default")): 0}
    assert "left as it " in caplog.text
    assert file.read_bytes() == before


def test_one_that_cannot_be_read_beside_one_that_can(directory):
    _kept = interlock.Space("shm:one").Semaphore("x")
    found = scrape(registry(["shm:none", "shm:one"]))
    assert {dict(key[1:])["space"]: value for key, value in found.items() if key[0] == "up"} == {
        "shm:none": 0,
        "shm:one": 1,
    }
    assert of("x", found) == {"permits_free": 1, "waiters": 0}


def test_a_closed_space(space):
    reg = registry(space)
    space.close()
    assert total("up", scrape(reg)) == 0


@pytest.mark.parametrize("url", ["redis://somewhere", "shm:", "", "shm:\udcff", 5])
def test_spaces_that_are_none(url, directory):
    with pytest.raises((ValueError, TypeError)):
        interlock.metrics.Collector(url)
    with pytest.raises((ValueError, TypeError)):
        interlock.metrics.Collector([url])


@pytest.mark.parametrize("names", [5, [5], None, [b"x"]])
def test_patterns_that_are_none(names):
    with pytest.raises(TypeError):
        interlock.metrics.Collector(names=names)


# --- as part of a program ---


def test_a_forked_worker_that_begins_with_a_scrape(directory):
    """The collector is registered before there is a space, and before the fork."""
    with Program("""
        import os, signal, sys
        import interlock, interlock.metrics
        from prometheus_client import REGISTRY, generate_latest
        REGISTRY.register(interlock.metrics.Collector())
        pid = os.fork()
        if pid == 0:
            assert b'interlock_up{space="shm:default"} 0.0' in generate_latest()
            with interlock.Lock("orders"):
                assert b'interlock_held{kind="Lock",name="orders",space="shm:default"} 1.0' in generate_latest()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert b'interlock_acquisitions_total{kind="Lock",name="orders",space="shm:default"} 1.0' in generate_latest()
    """) as program:
        status, out, err = program.end()
    assert (status, out) == (0, "")
    assert err.count("shm:default cannot be read") == 1


def test_the_multiprocess_mode(directory, tmp_path):
    """In which prometheus_client adds up what the processes have written: not these, which are of all already."""
    with Program(
        """
        import os
        import interlock, interlock.metrics
        from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess
        worked, lock = Counter("worked", "In each process."), interlock.Lock("orders")
        pids = []
        for _ in range(2):
            pids.append(os.fork())
            if pids[-1] == 0:
                with lock:
                    worked.inc()
                os._exit(0)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        registry.register(interlock.metrics.Collector())
        text = generate_latest(registry).decode()
        assert "worked_total 2.0" in text, text
        assert 'interlock_acquisitions_total{kind="Lock",name="orders",space="shm:default"} 2.0' in text, text
        """,
        env=environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path)),
    ) as program:
        assert program.end() == (0, "", "")


def test_a_scraper_that_is_killed(space):
    """It is in the middle of a scrape, again and again; locks go on."""
    _names = [space.Semaphore(f"name-{number}") for number in range(200)]
    lock = space.Lock("orders")
    for _ in range(10):
        with Program("""
            import interlock.metrics
            collector = interlock.metrics.Collector()
            print("scrapes", flush=True)
            while True:
                collector.collect()
        """) as scraper:
            assert scraper.line() == "scrapes"
            for _ in range(100):
                with lock:
                    pass
            os.kill(scraper.pid, signal.SIGKILL)
            scraper.process.wait(HANG_SECONDS)
    assert of("orders", scrape(registry()))["acquisitions_total"] == 1000


def test_without_prometheus_client():
    done = without_packages("import interlock; interlock.metrics.Collector()")
    assert done.returncode == 1
    assert "interlock.metrics needs prometheus_client: pip install 'interlock[prometheus]'" in done.stderr
