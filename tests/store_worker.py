"""Claims jobs, writes and finishes them as the server does, without a model; told to by tests, which kill it.

python -m tests.store_worker WHERE VOICE…   prints the id of each job that it has finished
"""

import sys
import time
from pathlib import Path

from server.jobs import postgresql
from server.jobs.store import Job, JobStorageError, JobStore, job_store
from server.settings import Settings

postgresql.LEASE_SECONDS = 1
PIECES, PIECE_BYTES = 8, 2048


def opened(where: str) -> JobStore:
    """The store in a folder, or at a database's address."""
    settings = Settings(jobs=where) if "://" in where else Settings(outputs=Path(where))
    return job_store(settings)


def sound(job: Job) -> bytes:
    """Another one for each job, the same each time."""
    return (job.speech.encode() * PIECE_BYTES)[: PIECES * PIECE_BYTES]


def work(store: JobStore, voices: list[str]) -> None:
    store.release_lost([])
    job = store.claim(voices) if store.next_due(voices) is not None else None
    if job is None:
        time.sleep(0.01)
        return
    file = store.begin_audio(job)
    for place in range(PIECES):
        file.write(sound(job)[place * PIECE_BYTES :][:PIECE_BYTES])
        time.sleep(0.002)
    file.keep()
    if store.complete(job, 0.1):
        print(job.id, flush=True)


def main() -> None:
    store = opened(sys.argv[1])
    while True:
        try:
            work(store, sys.argv[2:])
        except JobStorageError:  # it is away, as the tests want it
            time.sleep(0.02)


if __name__ == "__main__":
    main()
