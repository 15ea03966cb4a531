"""The server with little patience for jobs that nobody can speak, and for other servers that say nothing."""

from app import app
from server.jobs import postgresql, runner

__all__ = ["app"]

runner.ORPHAN_SECONDS = 2
postgresql.LEASE_SECONDS = 2
