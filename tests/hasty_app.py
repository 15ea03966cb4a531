"""The server with little patience for jobs that nobody can speak."""

from app import app
from server.jobs import runner

__all__ = ["app"]

runner.ORPHAN_SECONDS = 2
