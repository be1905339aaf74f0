"""Producers and consumers in processes of their own, with a ring of slots in shared memory between them.

    python bounded_buffer.py [fork | spawn | forkserver]

A Condition over one lock makes who finds the ring full, or empty, wait. Everything is anonymous and goes along as an
argument of Process, which pickles it; unrelated programs would give names instead.
"""

from __future__ import annotations

import sys
from multiprocessing import get_context
from typing import TYPE_CHECKING

import interlock

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

SLOTS, ITEMS = 8, 500
PRODUCERS, CONSUMERS = 3, 2
NO_MORE = -1


class Ring:
    """A queue of numbers of fixed length."""

    def __init__(self) -> None:
        self.changed = interlock.Condition()
        # The condition's lock guards these, so they need none of their own.
        self.slots = interlock.Array(None, "q", SLOTS, lock=False)
        self.first = interlock.Value(None, "q", lock=False)
        self.length = interlock.Value(None, "q", lock=False)

    def put(self, number: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.length.value < SLOTS)
            self.slots[(self.first.value + self.length.value) % SLOTS] = number
            self.length.value += 1
            self.changed.notify_all()

    def get(self) -> int:
        with self.changed:
            self.changed.wait_for(lambda: self.length.value > 0)
            number: int = self.slots[self.first.value]
            self.first.value = (self.first.value + 1) % SLOTS
            self.length.value -= 1
            self.changed.notify_all()
        return number


def produce(ring: Ring, producer: int) -> None:
    for number in range(producer, ITEMS, PRODUCERS):
        ring.put(number)


def consume(ring: Ring, total: interlock.Value, taken: interlock.Value) -> None:
    while (number := ring.get()) != NO_MORE:
        total.add(number)
        taken.add()


def main(start_method: str | None = None) -> None:
    context: BaseContext = get_context(start_method)
    ring, total, taken = Ring(), interlock.Value(None, "q"), interlock.Value(None, "q")
    producers = [context.Process(target=produce, args=(ring, n)) for n in range(PRODUCERS)]
    consumers = [context.Process(target=consume, args=(ring, total, taken)) for _ in range(CONSUMERS)]
    for process in (*producers, *consumers):
        process.start()
    for process in producers:
        process.join()
    for _ in consumers:
        ring.put(NO_MORE)
    for process in consumers:
        process.join()
    print(f"{taken.value} items consumed, their sum is {total.value} of {sum(range(ITEMS))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
