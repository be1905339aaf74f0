"""Locks, conditions and shared memory as arguments: of Process, of Pool, of ProcessPoolExecutor, of joblib."""

from __future__ import annotations

import pytest

from tests.scenarios.running import MISSING, command, run
from tests.support import Program


def numbers_of_whole_records(log) -> list[int]:
    """The numbers of the records, each of three lines, in their order in the log."""
    lines = [line.split() for line in log.read_text().splitlines()]
    records = [lines[start : start + 3] for start in range(0, len(lines), 3)]
    for record in records:
        assert [line[2] for line in record][::2] == ["begins", "ends"], record
        assert len({line[1] for line in record}) == 1, record
    return [int(record[0][1]) for record in records]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_log(directory, tmp_path, method):
    argv = command("pool_log")
    assert argv[-2:] == ["requests.log", "spawn"]
    assert run([*argv[:-1], method], tmp_path) == "250 requests are in requests.log\n"
    assert sorted(numbers_of_whole_records(tmp_path / "requests.log")) == list(range(250))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_bounded_buffer(directory, tmp_path, method):
    argv = command("bounded_buffer")
    assert argv[-1] == "spawn"
    assert run([*argv[:-1], method], tmp_path) == "500 items consumed, their sum is 124750 of 124750\n"
    assert not list(directory.glob("*.ilk.*"))  # the data went with its maker


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_shared_array(directory, tmp_path, method):
    argv = command("shared_array")
    assert argv[-1] == "spawn"
    assert run([*argv[:-1], method], tmp_path) == "64 rows filled, the last of them 63, 0 cells wrong\n"
    assert not list(directory.glob("*.ilk.*"))


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_refuses_to_be_an_argument(kind, method):
    code = """
        import multiprocessing, sys
        from functools import partial
        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            lock = getattr(context, sys.argv[2])()
            with context.Pool(1) as pool:
                try:
                    pool.map(partial(print, lock), range(2))
                except RuntimeError as error:
                    print(error, flush=True)
    """
    with Program(code, method, kind) as program:
        status, out, err = program.end()
    assert (status, err) == (0, "")
    assert "should only be shared between processes through inheritance" in out


def test_joblib_log(directory, tmp_path):
    pytest.importorskip("joblib", reason=MISSING.format("joblib"))
    assert run(command("joblib_log"), tmp_path) == "200 results are in results.log\n"
    assert sorted(numbers_of_whole_records(tmp_path / "results.log")) == list(range(200))
