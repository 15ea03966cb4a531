"""The server with time limits that a test can wait for."""

from app import app
from server import connections, guard, requests, text_stream

__all__ = ["app"]

connections.HEADER_SECONDS = requests.BODY_SECONDS = 0.5
guard.STALL_SECONDS = 2
text_stream.IDLE_SECONDS = 1
