"""Workers that do many jobs at once, but of each customer one at a time, whichever worker has it.

    python asyncio_workers.py JOURNAL

Three processes, a task for each job. The lock's name is made of the customer's, so no broker and no database is needed to
tell the workers of each other; there may be as many customers as there are.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from pathlib import Path

import interlock

WORKERS, CUSTOMERS, JOBS = 3, 5, 60
PATIENCE = 60  # seconds that a job waits for its customer's turn, before it is put off
LIMIT = 2  # seconds that a job may take


def note(journal: Path, *words: object) -> None:
    with journal.open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


async def work(number: int) -> None:
    # In a real program the customer's data are fetched, changed and stored here.
    await asyncio.sleep(3600 if number == 7 else 0.002)  # one job hangs


async def do(journal: Path, number: int) -> None:
    customer = f"customer-{number % CUSTOMERS}"
    try:
        # Tasks of this worker wait here, and those of the others. Meanwhile each loop goes on with other customers' jobs.
        async with interlock.Lock(customer).hold(timeout=PATIENCE):
            note(journal, customer, number, "begins")
            try:
                async with asyncio.timeout(LIMIT):
                    await work(number)
                note(journal, customer, number, "done")
            except TimeoutError:
                note(journal, customer, number, "stopped")
    except interlock.AcquireTimeout as error:
        note(journal, customer, number, "put off:", error)


async def do_all(journal: Path, numbers: range) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in numbers:
            tasks.create_task(do(journal, number))


def worker(journal: Path, numbers: range) -> None:
    asyncio.run(do_all(journal, numbers))


def main(journal: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=worker, args=(Path(journal), range(n, JOBS, WORKERS))) for n in range(WORKERS)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    print(f"{JOBS} jobs of {CUSTOMERS} customers are in {journal}")


if __name__ == "__main__":
    main(*sys.argv[1:])
