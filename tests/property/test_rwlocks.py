"""RWLock against a plain model: several handles and processes, deaths in between, in any order."""

from __future__ import annotations

import pytest
from hypothesis.stateful import invariant, rule

from tests.property.running import PROCESSES, Kind, processes, run, tries


class RWLocks(Kind):
    """The model: how often each process reads, who writes, and who died writing."""

    def make(self):
        return self.space.RWLock("x")

    def start(self) -> None:
        self.reads, self.writer, self.fence = [0] * PROCESSES, None, 0
        self.dead_writer = None

    def died(self, process) -> None:
        self.reads[process] = 0
        if self.writer == process:
            self.writer, self.dead_writer = None, self.writer_pid

    def others_read(self, process) -> bool:
        return any(count for other, count in enumerate(self.reads) if other != process)

    def recovered(self, process, side) -> int | None:
        return self.processes[process].do(recovered_pid, side)

    @rule(process=processes, how=tries)
    def read(self, process, how) -> None:
        got = self.processes[process].call("read.acquire", *how)
        if self.writer is not None:
            assert got in ((False, "DeadlockDetected") if self.writer == process else (False,))
        else:
            assert got is True
            self.reads[process] += 1
            assert self.recovered(process, "read") == self.dead_writer

    @rule(process=processes, how=tries)
    def write(self, process, how) -> None:
        got = self.processes[process].call("write.acquire", *how)
        if self.writer == process or (self.reads[process] and self.writer is None):
            assert got in (False, "DeadlockDetected")
        elif self.writer is not None or self.others_read(process):
            assert got is False
        else:
            assert got is True
            self.writer, self.writer_pid = process, self.processes[process].pid
            assert self.recovered(process, "write") == self.dead_writer
            fence = self.processes[process].call("write.fence")
            assert fence > self.fence
            self.fence = fence

    @rule(process=processes)
    def release_read(self, process) -> None:
        got = self.processes[process].call("read.release")
        assert got == (None if self.reads[process] else "NotHeld")
        self.reads[process] -= bool(self.reads[process])

    @rule(process=processes)
    def release_write(self, process) -> None:
        got = self.processes[process].call("write.release")
        if self.writer == process:
            assert got is None
            self.writer = self.dead_writer = None
        else:
            assert got == ("NotHeld" if self.writer is None else "NotOwner")

    @rule(process=processes)
    def downgrade(self, process) -> None:
        got = self.processes[process].call("downgrade")
        if self.writer == process:
            assert got is None
            self.writer = self.dead_writer = None
            self.reads[process] += 1
        else:
            assert got in ("NotHeld", "NotOwner")

    @invariant()
    def what_can_be_asked_agrees(self) -> None:
        if self.handle is not None:
            assert self.handle.write.locked() is (self.writer is not None)
            owner = self.handle.write.owner
            assert (owner.pid if owner else None) == (None if self.writer is None else self.processes[self.writer].pid)


def recovered_pid(lock, side):
    owner = getattr(lock, side).recovered
    return owner and owner.pid


@pytest.mark.parametrize("machine", [RWLocks])
def test_against_the_model(machine, monkeypatch):
    run(machine, monkeypatch)
