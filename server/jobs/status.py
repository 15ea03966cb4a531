"""A job as its client is told of it."""

import json
from typing import Any

from server.jobs.store import Job
from speech.audio import SAMPLE_RATE


def job_status(job: Job, place: int | None, blocked_reason: str | None) -> dict[str, object]:
    """The body of a 202 and of /tts/status/ID. `place` in the queue, from 1; `blocked_reason`: what it waits for."""
    speech = json.loads(job.speech)
    status: dict[str, object] = {
        "request_id": job.id,
        "status": job.state,
        "priority": job.priority,
        "created": job.created,
        "voice": speech["voice"],
        "seed": speech["seed"],
        "duration": round(job.samples / SAMPLE_RATE, 3),
        "progress": round(job.made / job.samples, 3),
    }
    if place is not None:
        status["queue_position"] = place
    if job.error:
        status["error"] = job.error
    if blocked_reason:
        status["blocked_reason"] = blocked_reason
    if job.state == "completed":
        status["result"] = {
            "output_path": job.file_name,
            "format": job.format,
            "url": f"/tts/result/{job.id}",
            "sample_rate": SAMPLE_RATE,
            "duration": round(job.samples / SAMPLE_RATE, 3),
            "processing_time": round(job.processing_time or 0, 3),
        }
    return status


def from_outside(job: dict[str, Any], root_path: str) -> dict[str, Any]:
    """As it is asked for: behind a proxy's prefix, if there is one."""
    if "result" in job:
        job["result"]["url"] = root_path + job["result"]["url"]
    return job
