"""A door for Home Assistant: Wyoming's events in, /tts/stream of a server that runs out. Holds no model.

Try: python -m server.wyoming --uri tcp://127.0.0.1:10200 --server http://127.0.0.1:8000
"""

import argparse
import asyncio
import contextlib
import functools
import json
import sys
from collections import deque
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from server.settings import BadSetting, Settings
from server.version import VERSION

try:
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.error import Error
    from wyoming.event import Event
    from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
    from wyoming.ping import Ping, Pong
    from wyoming.server import AsyncEventHandler, AsyncServer
    from wyoming.tts import (
        Synthesize,
        SynthesizeChunk,
        SynthesizeStart,
        SynthesizeStop,
        SynthesizeStopped,
        SynthesizeVoice,
    )
except ImportError:
    sys.exit("python -m server.wyoming needs the package wyoming: pip install -r requirements-wyoming.txt")

ATTRIBUTION = Attribution("F5-TTS", "https://github.com/SWivid/F5-TTS")
ASK_SECONDS = 10.0
RATE = 24_000


class Refused(Exception):
    """What the server said instead of speaking, or why it did not answer."""


class Server:
    """The one that speaks. It is asked without a proxy: it is near, and named."""

    def __init__(self, url: str, api_key: str):
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}

    async def voices(self) -> dict[str, str]:
        """The language of each, the default one first. Raises Refused."""
        try:
            async with httpx.AsyncClient(headers=self._headers, timeout=ASK_SECONDS, trust_env=False) as client:
                reply = await client.get(f"{self._url}/voices")
            listed = reply.json()
            if reply.status_code != 200:
                raise Refused(listed["error"]["message"])
            told = {voice["name"]: voice["language"] for voice in listed["voices"]}
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:
            raise Refused(f"{self._url} does not tell its voices: {error!r}") from None
        return dict(sorted(told.items(), key=lambda voice: voice[0] != "default"))

    async def stream(self) -> ClientConnection:
        """Raises Refused."""
        address = self._url.replace("http", "ws", 1) + "/tts/stream"
        try:
            return await connect(
                address, additional_headers=self._headers, open_timeout=ASK_SECONDS, compression=None, proxy=None
            )
        except InvalidStatus as refused:
            with contextlib.suppress(ValueError, LookupError):
                raise Refused(json.loads(refused.response.body or b"")["error"]["message"]) from None
            raise Refused(f"{self._url} answered {refused.response.status_code}") from None
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Refused(f"{self._url} does not answer: {error}") from None


class Door(AsyncEventHandler):
    """One client: what it wants said goes to a stream of its own, which ends when it leaves."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        super().__init__(reader, writer)
        self._server = server
        self._stream: ClientConnection | None = None
        self._answering: asyncio.Task[None] | None = None
        self._under_way: deque[bool] = deque()
        """Of each utterance, whether its text comes in pieces."""
        self._in_pieces = False
        """Text of the last one is still to come."""

    async def run(self) -> None:
        try:
            await super().run()
        except (ConnectionError, EOFError):
            pass  # the client has left, whatever it was in the midst of
        except (AttributeError, LookupError, TypeError, ValueError) as error:  # the library trusts whoever speaks
            print(f"hung up on a client that does not speak Wyoming: {type(error).__name__}", file=sys.stderr)

    async def handle_event(self, event: Event) -> bool:
        try:
            await self._handle(event)
        except (Refused, WebSocketException, LookupError) as error:
            await self.write_event(Error(str(error), type(error).__name__).event())
            return False
        return True

    async def _handle(self, event: Event) -> None:
        if Describe.is_type(event.type):
            await self.write_event((await self._info()).event())
        elif Ping.is_type(event.type):
            await self.write_event(Pong(Ping.from_event(event).text).event())
        elif SynthesizeStart.is_type(event.type):
            await self._begin(SynthesizeStart.from_event(event).voice, in_pieces=True)
        elif SynthesizeChunk.is_type(event.type) and self._in_pieces:
            await self._say({"text": SynthesizeChunk.from_event(event).text})
        elif SynthesizeStop.is_type(event.type) and self._in_pieces:
            await self._say({"flush": True})
            self._in_pieces = False
        elif Synthesize.is_type(event.type) and not self._in_pieces:  # else the same again, for servers without pieces
            whole = Synthesize.from_event(event)
            await self._begin(whole.voice, in_pieces=False)
            await self._say({"text": whole.text, "flush": True})

    async def _begin(self, voice: SynthesizeVoice | None, in_pieces: bool) -> None:
        await self._say({"voice": await self._name_of(voice)})
        self._in_pieces = in_pieces
        self._under_way.append(in_pieces)

    async def _say(self, message: dict[str, Any]) -> None:
        if self._stream is None:
            self._stream = await self._server.stream()
            self._answering = asyncio.create_task(self._answer(self._stream))
        await self._stream.send(json.dumps(message))

    async def _answer(self, stream: ClientConnection) -> None:
        """What the server says, in Wyoming's words, until it closes the stream."""
        with contextlib.suppress(ConnectionError):  # the client has left
            with contextlib.suppress(WebSocketException):
                async for message in stream:
                    if isinstance(message, bytes):
                        await self.write_event(AudioChunk(RATE, 2, 1, message).event())
                    else:
                        await self._pass_on(json.loads(message))
            self._stream = None  # it was silent for long, or the server stops
            if self._under_way:
                await self._hang_up(stream.close_reason or "the server hung up")

    async def _pass_on(self, told: dict[str, Any]) -> None:
        if "started" in told:
            await self.write_event(AudioStart(RATE, 2, 1, timestamp=0).event())
        elif "done" in told:
            await self.write_event(AudioStop().event())
            if self._under_way.popleft():
                await self.write_event(SynthesizeStopped().event())
        elif "error" in told:
            await self._hang_up(told["error"]["message"])

    async def _hang_up(self, why: str) -> None:
        await self.write_event(Error(why).event())
        await self.stop()

    async def disconnect(self) -> None:
        """The client has left: the model is free within a step."""
        if self._answering is not None:
            self._answering.cancel()
        if self._stream is not None:
            await self._stream.close()

    async def _name_of(self, voice: SynthesizeVoice | None) -> str:
        """Its own, or that of a voice of its language; else the default one."""
        if voice is not None and voice.name is not None:
            return voice.name
        if voice is not None and voice.language is not None:
            wanted = voice.language.replace("_", "-").lower().partition("-")[0]
            voices = await self._server.voices()
            return next((name for name, own in voices.items() if own.partition("-")[0] == wanted), "default")
        return "default"

    async def _info(self) -> Info:
        voices = [
            TtsVoice(name, ATTRIBUTION, True, f"{name} ({language})", VERSION, [_tag(language)])
            for name, language in (await self._server.voices()).items()
        ]
        return Info(tts=[TtsProgram("direct-tts", ATTRIBUTION, True, "F5-TTS, served directly", VERSION, voices, True)])


def _tag(language: str) -> str:
    """As Home Assistant writes it: `en-us` is en-US."""
    name, _, region = language.partition("-")
    return f"{name}-{region.upper()}" if region else name


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m server.wyoming",
        description="Let Home Assistant speak through a server that runs.",
        epilog="A server that wants a key is sent the one in the environment's TTS_API_KEY. Wyoming has no keys: "
        "listen elsewhere than on loopback in networks alone that are trusted.",
    )
    options.add_argument("--uri", default="tcp://127.0.0.1:10200", help="where to listen, tcp or unix (%(default)s)")
    options.add_argument("--server", default="http://127.0.0.1:8000", metavar="URL", help="who speaks (%(default)s)")
    chosen = options.parse_args()
    try:
        server = Server(chosen.server, Settings.read().api_key)
        door = AsyncServer.from_uri(chosen.uri)
        print(f"Wyoming on {chosen.uri}, spoken by {chosen.server}", file=sys.stderr, flush=True)
        asyncio.run(door.run(functools.partial(Door, server)))
    except KeyboardInterrupt:
        pass
    except (BadSetting, ValueError, OSError) as error:
        sys.exit(f"cannot start: {error}")


if __name__ == "__main__":
    main()
