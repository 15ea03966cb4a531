"""The server under Ray Serve: as many copies as there are listeners for, a proxy that asks elsewhere, rolling restarts.

Ray's HAProxy stands in front, and the app runs on the replica's own loop: nothing is queued between the model
and the client, and our own 503 says when a copy is full.

Try: build/ray/bin/python deploy/ray_serve.py --copies 2        (make scale-test installs it)
"""

import argparse
import logging
import math
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROOT = Path(__file__).parents[1]
# On a cluster these must be in the environment of `ray start`, on every node. Read when ray is imported.
RAY_SETTINGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Ray's own thread would put a queue without bound between a slow client and the model.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # The status waits for the first sound: what fails before it can be asked of another copy, if all of it was there
    # when it was sent on. Ray has no setting for that: it is a second line of the proxy's configuration.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response 503\n    option http-buffer-request",
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "310",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    # A copy that is to end takes requests for so long; then they are asked of another, and listeners have the rest.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    "RAY_USAGE_STATS_ENABLED": "0",
}
for name, value in RAY_SETTINGS.items():
    os.environ.setdefault(name, value)

import ray  # noqa: E402
from ray import serve  # noqa: E402


def build() -> "ASGIApp":
    """Called in the replica, so that nothing is pickled."""
    from app import app

    ours, theirs = logging.getLogger("uvicorn.tts"), logging.getLogger("ray.serve")
    ours.handlers, ours.propagate = theirs.handlers, False
    ours.setLevel(logging.INFO)

    async def without_a_second_id(scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Ray gives every request an X-Request-Id, which is ours too, and tells it to the client itself."""

        async def send_once(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [header for header in message["headers"] if header[0] != b"x-request-id"]
            await send(message)

        await app(scope, receive, send_once)

    return without_a_second_id


@serve.deployment(
    max_ongoing_requests=1000,  # a copy refuses by itself, beyond TTS_MAX_WAITING
    graceful_shutdown_timeout_s=40,  # those 5 s, TTS_GRACE and some more
    health_check_period_s=5,
)
@serve.ingress(build)
class Copy:
    """A process with a model."""


def deployment(least: int, most: int, cores: float, listeners: float) -> Any:
    """Copies between `least` and `most`, so many that each has about so many `listeners`."""
    copies = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": listeners}
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    environment |= {name: text for name, text in os.environ.items() if name.startswith("TTS_")}
    return Copy.options(  # type: ignore[attr-defined]
        autoscaling_config=copies,
        ray_actor_options={"num_cpus": cores, "runtime_env": {"env_vars": environment}},
    ).bind()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--copies", type=int, default=1, help="at least")
    parser.add_argument("--most", type=int, help="at most; as many as at least, when absent")
    parser.add_argument("--cores", type=float, default=1, help="of a copy")
    parser.add_argument("--listeners", type=float, default=8, help="of a copy, beyond which one more is started")
    parser.add_argument("--address", help="of a running cluster; `auto` finds this machine's. Else one of its own")
    wanted = parser.parse_args()
    stop = threading.Event()
    if wanted.address:
        ray.init(address=wanted.address)
    else:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # nobody else reaches it: loopback only
        processors = max(os.cpu_count() or 1, math.ceil(wanted.cores * (wanted.most or wanted.copies)))
        ray.init(
            num_cpus=processors,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            _node_ip_address="127.0.0.1",
        )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())  # after ray has installed its own
    serve.start(http_options={"host": wanted.host, "port": wanted.port})
    copies = deployment(wanted.copies, wanted.most or wanted.copies, wanted.cores, wanted.listeners)
    try:
        serve.run(copies, name="tts")
    except RuntimeError as error:
        sys.exit(f"cannot start: {error}")
    print(f"serving on {wanted.host}:{wanted.port}", flush=True)
    if wanted.address:
        return  # the cluster serves; the same command again replaces its copies one by one
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
