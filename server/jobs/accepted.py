"""A request for speech as a job; once for each idempotency key."""

import hashlib
import json
import time
import uuid
from dataclasses import asdict

from server.jobs.store import PRIORITY_DUE_SECONDS, Job
from speech.request import Speech


class KeyReused(ValueError):
    """Another request had that key."""


def digest(speech: Speech, priority: str) -> str:
    """Of what was asked, before anything was settled: a seed that is drawn differs each time. Fields that a later
    version adds do not change it."""
    absent = asdict(Speech(speech.text))
    asked = {name: value for name, value in asdict(speech).items() if name == "text" or value != absent[name]}
    return hashlib.sha256(json.dumps([asked, priority], sort_keys=True).encode()).hexdigest()


def same_request(job: Job, asked: str | None) -> Job:
    """`job`, which has the key already. Raises KeyReused where something else was asked for with it."""
    if job.asked != asked:
        raise KeyReused(f"job {job.id} was accepted with this key for something else; give each job a key of its own")
    return job


def new_job(settled: Speech, voice: str, samples: int, priority: str, key: str | None, asked: str | None) -> Job:
    """`voice`: its fingerprint."""
    now = time.time()
    return Job(
        uuid.uuid4().hex,
        json.dumps(asdict(settled)),
        voice,
        priority,
        now,
        now + PRIORITY_DUE_SECONDS[priority],
        samples,
        format=settled.format,
        idempotency_key=key,
        asked=asked,
    )
