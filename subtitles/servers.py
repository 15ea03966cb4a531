"""Several servers as one: the least busy one that is awake speaks. Knows nothing of subtitles.

A server that fails is rested, longer each time in a row; its cues go elsewhere or wait. Try: tests/test_worker.py"""

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tenacity import retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.asyncio import AsyncRetrying

from subtitles.captions import WordTimes
from subtitles.console import printable
from subtitles.wav import BadWav, WavReceiver

TIMEOUTS = httpx.Timeout(connect=5, read=300, write=30, pool=None)
"""read: a busy server, or a large model on a CPU, may take minutes to its first sound."""
WORDS_SECONDS, SOUND_SECONDS = 30, 3600
"""For a whole answer in words, and for one in sound: bytes that come one by one do not hold a run for ever."""
TRIES = 5
"""Of a cue whose replies are broken: a server that stumbles is worth asking again, a cue it cannot speak is not."""
FIRST_REST, MAX_REST = 0.25, 10.0  # seconds, doubled with every failure in a row
MAX_ADDED_REST = 2.0
"""Of a server that says itself when to come back: what it says holds, but never less than this grows to."""
MAX_RETRY_AFTER = 60.0
MAX_URL_BYTES = 4000
MAX_WORDS_BYTES = 1_000_000
MAX_PRINTED = 300  # characters
MAX_NATURAL_SECONDS = 86_400.0


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
    """A server that must not be asked at all: another model, a voice it does not have, no way to it."""


@dataclass(slots=True)
class Server:
    url: str
    http: httpx.AsyncClient
    busy: int = 0
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    known: bool = False
    """Its model and voices were seen since it last failed."""


class Servers:
    """Use as `async with`. `model` is what all of them speak with, known after probe()."""

    def __init__(self, urls: Iterable[str], voices: set[str], patience: float, api_key: str = ""):
        urls = list(urls)
        self._clients = {near: _client(near, api_key) for near in {_is_loopback(url) for url in urls}}
        self._servers = [Server(url, self._clients[_is_loopback(url)]) for url in urls]
        self._voices = voices
        self.model = ""
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
        for client in self._clients.values():
            await client.aclose()

    async def probe(self) -> list[str]:
        """Asks every server who it is, and says which do not answer.

        Raises Unavailable when none does; Rejected, Incompatible."""
        answers = await asyncio.gather(*map(self._probe_one, self._servers), return_exceptions=True)
        silent = [answer for answer in answers if isinstance(answer, Unavailable | InvalidReply)]
        for answer in answers:
            if isinstance(answer, BaseException) and answer not in silent:
                raise answer
        if len(silent) == len(self._servers):
            raise Unavailable("; ".join(map(str, silent)))
        return list(map(str, silent))

    async def _probe_one(self, server: Server) -> None:
        async with (
            self._asking(server),
            asyncio.timeout(WORDS_SECONDS),
            server.http.stream("GET", f"{server.url}/health") as reply,
        ):
            body = await _body(reply)
            _raise_for_status(server, reply, body)
        told = _json(body)
        model, names = _named(told.get("model")) or "unknown", _voices(told.get("voices"))
        missing = sorted(self._voices - set(names)) if names else []  # one that lists none is taken at its word
        if missing:
            has = ", ".join(names)[:MAX_PRINTED]
            raise Incompatible(f"{server.url} has no voice {', '.join(map(repr, missing))}; it has: {has}")
        if self.model not in ("", model):
            raise Incompatible(
                f"{server.url} speaks with the model {model!r} and another with {self.model!r}: one film would have two"
            )
        self.model, server.known = model, True

    async def natural_seconds(self, text: str, voice: str | None) -> float | None:
        """How long the text takes at the voice's own pace, without inference; None where the server does not tell."""
        params = httpx.QueryParams({"text": text} | ({"voice": voice} if voice else {}))
        if len(str(params)) > MAX_URL_BYTES:
            return None
        return await self._patiently.wraps(self._stubbornly.wraps(self._natural_once))(params)

    async def _natural_once(self, params: httpx.QueryParams) -> float | None:
        async with self._least_busy() as server, asyncio.timeout(SOUND_SECONDS):
            reply = await server.http.head(f"{server.url}/tts", params=params)
            if reply.status_code in (401, 429, 503):
                _raise_for_status(server, reply, b"")
            seconds = _number(reply.headers.get("x-audio-duration"))
            told = reply.status_code == 200 and seconds is not None and 0 < seconds <= MAX_NATURAL_SECONDS
            return seconds if told else None

    async def speak(self, request: dict[str, str | float | int], part: Path) -> float:
        """Fills `part` with a checked WAV file and returns its seconds.

        Raises Rejected, InvalidReply, Unavailable; OSError when the disk is full."""
        return await self._patiently.wraps(self._stubbornly.wraps(self._speak_once))(request, part)

    async def _speak_once(self, request: dict[str, str | float | int], part: Path) -> float:
        async with (
            self._least_busy() as server,
            asyncio.timeout(SOUND_SECONDS),
            server.http.stream("POST", f"{server.url}/tts", json=request) as reply,
        ):
            kind = reply.headers.get("content-type", "no content type")
            if reply.status_code != 200 or not kind.startswith("audio/"):
                body = await _body(reply)
                _raise_for_status(server, reply, body)
                said = f"{printable(kind)[:80]} instead of audio: {_words(body) or 'nothing'}"
                raise InvalidReply(f"{server.url} answered 200 with {said}")
            try:
                with part.open("wb") as file:
                    received = WavReceiver(file)
                    async for piece in reply.aiter_raw():
                        received.write(piece)
                return received.seconds(part)
            except BadWav as problem:
                raise InvalidReply(f"{server.url} sent {problem}") from None

    async def word_times(self, request: dict[str, str | float | int]) -> WordTimes:
        """When each word is heard in what `speak` gets for the same request. Raises as that does."""
        return await self._patiently.wraps(self._stubbornly.wraps(self._word_times_once))(request)

    async def _word_times_once(self, request: dict[str, str | float | int]) -> WordTimes:
        async with (
            self._least_busy() as server,
            asyncio.timeout(SOUND_SECONDS),
            server.http.stream("POST", f"{server.url}/tts/plan", json=request) as reply,
        ):
            body = await _body(reply)
            _raise_for_status(server, reply, body)
            try:
                return WordTimes.from_json(_json(body))
            except ValueError:
                raise InvalidReply(f"{server.url} told no times of words: {_words(body) or 'nothing'}") from None

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
            rest = min(MAX_REST, FIRST_REST * 2 ** min(server.failures, 10))
            server.failures += 1
            said = getattr(failure, "retry_after", None)
            if said is None:
                server.known = False
            else:  # 0 too, from a server that has not thought about it: it would be asked 50 times a second
                rest = max(said, min(rest, MAX_ADDED_REST))
            server.rests_until = asyncio.get_running_loop().time() + rest
            raise
        server.failures = 0


def _is_loopback(url: str) -> bool:
    """No proxy lies between this machine and itself, whatever the environment says of proxies."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))  # 127.1 is one too
    except (ValueError, OSError):
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _client(near: bool, api_key: str) -> httpx.AsyncClient:
    """It follows no redirection: the key is for the servers that were named."""
    # Identity: what is decoded could be a thousand times what was sent, and a WAV file's length would be another.
    headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
    limits = httpx.Limits(max_connections=None)
    try:
        return httpx.AsyncClient(timeout=TIMEOUTS, limits=limits, headers=headers, trust_env=not near)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise Incompatible(
            f"the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used ({error}); unset it, "
            "or name the server in NO_PROXY"
        ) from None
    except OSError as error:
        raise Incompatible(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used ({error}); correct or unset it") from None


@contextmanager
def _in_words(server: Server) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise Unavailable(f"{server.url} does not answer: {_words(str(error)) or 'no connection in time'}") from None
    except (httpx.TimeoutException, TimeoutError):
        raise Unavailable(f"{server.url} fell silent") from None
    except (httpx.InvalidURL, UnicodeError) as error:  # a name that no name server could be asked for
        raise Unavailable(f"{server.url} is no address: {_words(str(error))}") from None
    except (OverflowError, ExceptionGroup) as error:  # a port past 65535, of a proxy
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        raise Unavailable(f"{server.url} cannot be reached: {_words(str(cause))}") from None
    except httpx.HTTPError as error:
        raise InvalidReply(f"{server.url} broke off: {_words(str(error)) or type(error).__name__}") from None


async def _body(reply: httpx.Response) -> bytes:
    """Words, not sound: as much as is worth reading, and no longer than that takes."""
    read = bytearray()
    async with asyncio.timeout(WORDS_SECONDS):
        async for piece in reply.aiter_raw():
            read += piece
            if len(read) >= MAX_WORDS_BYTES:
                break
    return bytes(read[:MAX_WORDS_BYTES])


def _raise_for_status(server: Server, reply: httpx.Response, body: bytes) -> None:
    said = f"{server.url} answered {reply.status_code}: {_words(body) or 'nothing'}"
    if reply.status_code == 401:
        sent = "authorization" in reply.request.headers
        trouble = "does not take the key in TTS_API_KEY" if sent else "wants a key: set TTS_API_KEY in the environment"
        raise Incompatible(f"{server.url} {trouble}")
    if reply.status_code in (429, 503):
        seconds = _number(reply.headers.get("retry-after"))
        raise Unavailable(said, None if seconds is None else min(seconds, MAX_RETRY_AFTER))
    if reply.status_code >= 500:
        raise InvalidReply(said)
    if reply.status_code != 200:
        raise Rejected(said)


def _words(said: bytes | str) -> str:
    """What went wrong in a server's words, in whichever shape it says it: short, and harmless to a terminal."""
    if isinstance(said, bytes):
        text = said.decode("utf-8", "replace")
        told = _json(said)
        found = told.get("error") or told.get("detail") or told.get("message") or text
        found = found.get("message", text) if isinstance(found, dict) else found
        said = found if isinstance(found, str) else text
    return printable(" ".join(said[: 10 * MAX_PRINTED].split()))[:MAX_PRINTED]


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _voices(told: object) -> list[str]:
    listed = told if isinstance(told, list) else []
    return [name for voice in listed if (name := _named(voice.get("name") if isinstance(voice, dict) else voice))]


def _named(name: object) -> str:
    return name[:MAX_PRINTED] if isinstance(name, str) else ""


def _number(header: str | None) -> float | None:
    """Of seconds; None for a date, which a clock that is wrong would make anything."""
    return float(header) if header and header.replace(".", "", 1).isdecimal() else None
