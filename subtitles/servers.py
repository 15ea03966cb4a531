"""One pooled client, several servers: the least busy one that is awake speaks. Knows nothing of subtitles.

A server that fails is rested, longer each time in a row; its cues go elsewhere or wait. Try: tests/test_worker.py"""

import asyncio
import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tenacity import retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.asyncio import AsyncRetrying

TIMEOUTS = httpx.Timeout(connect=5, read=300, write=30, pool=None)
"""read: a busy server, or a large model on a CPU, may take minutes to its first sound."""
HEALTH_TIMEOUTS = httpx.Timeout(connect=5, read=30, write=30, pool=None)
TRIES = 5
"""Of a cue whose replies are broken: a server that stumbles is worth asking again, a cue that it cannot speak is not."""
FIRST_REST, MAX_REST = 0.25, 10.0  # seconds, doubled with every failure in a row
MAX_RETRY_AFTER = 60.0
MAX_URL_BYTES = 4000


class Unavailable(Exception):
    """Nobody answers, or all are full: worth asking for as long as patience lasts."""

    def __init__(self, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class InvalidReply(Exception):
    """An answer that is no speech: worth a few tries."""


class Rejected(Exception):
    """What the server will never speak, in its words."""


class Incompatible(Exception):
    """A server that must not be asked at all: another model, or a voice it does not have."""


@dataclass(slots=True)
class Server:
    url: str
    busy: int = 0
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    known: bool = False
    """Its model and voices were seen since it last failed."""


class Servers:
    """Use as `async with`. `model` is what all of them speak with, known after probe()."""

    def __init__(self, urls: Iterable[str], voices: set[str], patience: float):
        self._servers = [Server(url) for url in urls]
        self._voices = voices
        self.model = ""
        self._http = httpx.AsyncClient(timeout=TIMEOUTS, limits=httpx.Limits(max_connections=None))
        # No wait between attempts: it is the server that rests, and a cue waits for one that does not.
        self._patiently = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable), stop=stop_after_delay(patience), reraise=True
        )
        self._stubbornly = AsyncRetrying(
            retry=retry_if_exception_type(InvalidReply), stop=stop_after_attempt(TRIES), reraise=True
        )

    async def __aenter__(self) -> "Servers":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def probe(self) -> list[str]:
        """Asks every server who it is, and says which do not answer. Raises Unavailable when none does; Rejected, Incompatible."""
        answers = await asyncio.gather(*map(self._probe_one, self._servers), return_exceptions=True)
        silent = [answer for answer in answers if isinstance(answer, Unavailable | InvalidReply)]
        for answer in answers:
            if isinstance(answer, BaseException) and answer not in silent:
                raise answer
        if len(silent) == len(self._servers):
            raise Unavailable("; ".join(map(str, silent)))
        return list(map(str, silent))

    async def _probe_one(self, server: Server) -> None:
        async with self._asking(server):
            reply = await self._http.get(f"{server.url}/health", timeout=HEALTH_TIMEOUTS)
            _raise_for_status(server, reply)
        told = _json(reply)
        model, voices = str(told.get("model", "unknown")), told.get("voices")
        names = (
            [str(voice.get("name")) if isinstance(voice, dict) else str(voice) for voice in voices]
            if isinstance(voices, list)
            else []
        )
        missing = (
            sorted(self._voices - set(names)) if names else []
        )  # a server that lists none is taken at its word when it is asked
        if missing:
            raise Incompatible(f"{server.url} has no voice {', '.join(map(repr, missing))}; it has: {', '.join(names)}")
        if self.model not in ("", model):
            raise Incompatible(
                f"{server.url} speaks with the model {model!r} and another with {self.model!r}: one film would have two"
            )
        self.model, server.known = model, True

    async def natural_seconds(self, text: str, voice: str | None) -> float | None:
        """How long the text takes at the voice's own pace, without any inference; None where the server does not tell."""
        params = httpx.QueryParams({"text": text} | ({"voice": voice} if voice else {}))
        if len(str(params)) > MAX_URL_BYTES:
            return None
        return await self._patiently.wraps(self._stubbornly.wraps(self._natural_once))(params)

    async def _natural_once(self, params: httpx.QueryParams) -> float | None:
        async with self._least_busy() as server:
            reply = await self._http.head(f"{server.url}/tts", params=params)
            if reply.status_code in (429, 503):
                _raise_for_status(server, reply)
            seconds = _number(reply.headers.get("x-audio-duration"))
            return seconds if reply.status_code == 200 else None

    async def speak(self, line: dict, part: Path) -> float:
        """Fills `part` with a checked WAV file and returns its seconds. Raises Rejected, InvalidReply, Unavailable; OSError when the disk is full."""
        return await self._patiently.wraps(self._stubbornly.wraps(self._speak_once))(line, part)

    async def _speak_once(self, line: dict, part: Path) -> float:
        async with self._least_busy() as server, self._http.stream("POST", f"{server.url}/tts", json=line) as reply:
            kind = reply.headers.get("content-type", "no content type")
            if reply.status_code != 200 or not kind.startswith("audio/"):
                await reply.aread()
                _raise_for_status(server, reply)
                raise InvalidReply(f"{server.url} answered 200 with {kind} instead of audio: {_words(reply)}")
            with part.open("wb") as file:
                async for chunk in reply.aiter_bytes():
                    file.write(chunk)
            return _whole_seconds(server, part)

    @asynccontextmanager
    async def _least_busy(self) -> AsyncIterator[Server]:
        now = asyncio.get_running_loop().time
        while not (awake := [server for server in self._servers if server.rests_until <= now()]):  # noqa: ASYNC110 - a rest has a known end
            await asyncio.sleep(min(server.rests_until for server in self._servers) - now())
        server = min(awake, key=lambda server: server.busy)
        server.busy += 1
        try:
            if not server.known:
                await self._probe_one(server)
            async with self._asking(server):
                yield server
        finally:
            server.busy -= 1

    @asynccontextmanager
    async def _asking(self, server: Server) -> AsyncIterator[None]:
        """Failures of the transport become ours; after a failure of either kind the server rests."""
        try:
            with _in_words(server):
                yield
        except (Unavailable, InvalidReply) as failure:
            rest = getattr(failure, "retry_after", None)
            if rest is None:
                rest = min(MAX_REST, FIRST_REST * 2**server.failures)
                server.failures += 1
                server.known = False
            server.rests_until = asyncio.get_running_loop().time() + rest
            raise
        server.failures = 0


@contextmanager
def _in_words(server: Server) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unavailable(f"{server.url} does not answer: {error or 'no connection in time'}") from None
    except httpx.TimeoutException:
        raise Unavailable(f"{server.url} fell silent") from None
    except httpx.HTTPError as error:
        raise InvalidReply(f"{server.url} broke off: {error or type(error).__name__}") from None


def _raise_for_status(server: Server, reply: httpx.Response) -> None:
    said = f"{server.url} answered {reply.status_code}: {_words(reply)}"
    if reply.status_code in (429, 503):
        seconds = _number(reply.headers.get("retry-after"))
        raise Unavailable(said, None if seconds is None else min(seconds, MAX_RETRY_AFTER))
    if reply.status_code >= 500:
        raise InvalidReply(said)
    if reply.status_code != 200:
        raise Rejected(said)


def _words(reply: httpx.Response) -> str:
    """What the server says went wrong, in whichever shape it says it."""
    told = _json(reply)
    said = told.get("error") or told.get("detail") or told.get("message") or reply.text
    said = said.get("message", said) if isinstance(said, dict) else said
    return " ".join(str(said).split())[:300] or "nothing"


def _json(reply: httpx.Response) -> dict:
    try:
        told = reply.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _number(header: str | None) -> float | None:
    """Of seconds; None for a date, which a clock that is wrong would make anything."""
    return float(header) if header and header.replace(".", "", 1).isdecimal() else None


def _whole_seconds(server: Server, part: Path) -> float:
    """Of a WAV file that has every frame its header promises; else InvalidReply."""
    try:
        with wave.open(str(part)) as sound:
            promised, rate, frame_bytes = (
                sound.getnframes(),
                sound.getframerate(),
                sound.getnchannels() * sound.getsampwidth(),
            )
            held = 0
            while block := sound.readframes(65_536):
                held += len(block) // frame_bytes
    except (wave.Error, EOFError) as error:
        raise InvalidReply(f"{server.url} sent audio that is no PCM WAV file: {error or 'it ends too soon'}") from None
    if held != promised or not held or not rate:
        raise InvalidReply(f"{server.url} sent a WAV file of {held} frames whose header promises {promised}")
    return held / rate
