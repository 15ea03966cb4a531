"""Home Assistant's other door: the real command, and Wyoming's own client."""

import asyncio
import contextlib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, Server, serving
from test_text_stream import ENDLESS, stats
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped, SynthesizeVoice

from bench.launcher import python

KEY = "a-key"
BEARER = {"authorization": f"Bearer {KEY}"}
HELLO = "Good evening, and good night. It costs $5.20."


@contextlib.contextmanager
def door(log: Path, server: str, **environment: str) -> Iterator[int]:
    """Its port."""
    command = python("server.wyoming", "--uri", "tcp://127.0.0.1:{port}", "--server", server)
    wyoming = Server(log, command=command)
    wyoming.launch(**environment)
    try:
        end = time.monotonic() + 30
        while not listens(wyoming.port):
            assert time.monotonic() < end and wyoming.process.poll() is None, wyoming.log
            time.sleep(0.02)
        yield wyoming.port
        assert wyoming.stop() == 0
    finally:
        wyoming.kill()
    assert "Traceback" not in wyoming.log and "evening" not in wyoming.log and KEY not in wyoming.log, wyoming.log


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, small_folder: Path) -> Iterator[str]:
    log = tmp_path_factory.mktemp("spoken") / "log"
    with serving(log, TTS_MODEL=str(small_folder), TTS_API_KEY=KEY) as address:
        yield address


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, quick: str) -> Iterator[int]:
    with door(tmp_path_factory.mktemp("wyoming") / "log", quick, TTS_API_KEY=KEY) as port:
        yield port


async def next_event(client: AsyncTcpClient) -> Event:
    event = await asyncio.wait_for(client.read_event(), 60)
    assert event is not None, "the door hung up"
    return event


async def heard(client: AsyncTcpClient, until: type[AudioStop | SynthesizeStopped | Error] = AudioStop) -> list[Event]:
    events = [await next_event(client)]
    while not until.is_type(events[-1].type):
        events.append(await next_event(client))
    return events


def sound(events: list[Event]) -> bytes:
    """Between one start and one stop."""
    assert AudioStart.is_type(events[0].type), events
    start = AudioStart.from_event(events[0])
    assert (start.rate, start.width, start.channels) == (24_000, 2, 1)
    assert sum(AudioStart.is_type(event.type) for event in events) == 1
    return b"".join(AudioChunk.from_event(event).audio for event in events if AudioChunk.is_type(event.type))


def test_it_says_which_voices_there_are(port: int) -> None:
    async def main() -> Info:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Describe().event())
            return Info.from_event(await next_event(client))

    [program] = asyncio.run(main()).tts
    assert program.installed and program.supports_synthesize_streaming
    languages = {voice.name: voice.languages for voice in program.voices}
    assert program.voices[0].name == "default" and languages["default"] == ["en-US"] and languages["an"] == ["vi"]


def test_a_text_is_spoken_and_its_length_is_that_by_http(port: int, quick: str) -> None:
    voices = [None, SynthesizeVoice("michael"), SynthesizeVoice(language="vi")]

    async def main() -> list[bytes]:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for voice in voices:
                await client.write_event(Synthesize(HELLO, voice).event())
            return [sound(await heard(client)) for _ in voices]

    for said, voice in zip(asyncio.run(main()), ("default", "michael", "an"), strict=True):
        reply = httpx.get(f"{quick}/tts", params={"text": HELLO, "voice": voice}, headers=BEARER, timeout=60)
        assert len(said) == len(reply.content) - 44


def test_a_text_in_pieces_is_spoken_while_it_is_written_and_once(port: int) -> None:
    """As Home Assistant does it: it sends the whole again, for programs that do not take pieces."""

    async def main() -> tuple[list[Event], list[Event]]:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(SynthesizeStart(SynthesizeVoice("michael")).event())
            for piece in ("Good eve", "ning, everyone. And ", "good night to "):
                await client.write_event(SynthesizeChunk(piece).event())
            first = [await next_event(client), await next_event(client)]
            await client.write_event(SynthesizeChunk("you.").event())
            await client.write_event(Synthesize("Good evening, everyone. And good night to you.").event())
            await client.write_event(SynthesizeStop().event())
            rest = await heard(client, SynthesizeStopped)
            await client.write_event(Ping("still there").event())
            assert Pong.from_event(await next_event(client)).text == "still there"
            return first, rest

    first, rest = asyncio.run(main())
    assert AudioChunk.is_type(first[1].type)
    assert AudioStop.is_type(rest[-2].type) and SynthesizeStopped.is_type(rest[-1].type)
    assert len(sound(first + rest)) > 48_000


@pytest.mark.timing
def test_who_leaves_frees_the_model(port: int, quick: str) -> None:
    async def main() -> None:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Synthesize(ENDLESS).event())
            await next_event(client)
            assert AudioChunk.is_type((await next_event(client)).type)

    asyncio.run(main())
    end = time.monotonic() + 20
    while stats(quick)["queue_size"]:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "said",
    [
        b"hello\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 5}\n',
        b'{"type": "synthesize", "data": {"text": 5, "voice": 5}}\n',
        b'{"type": "ping", "data": 5}\n',
        b'{"type": "ping", "data_length": 9}\n{}',
        b"\xff" * 70000,
    ],
)
def test_who_speaks_otherwise_or_hangs_up_harms_nobody(port: int, said: bytes) -> None:
    """The door's log has no traceback: its fixture looks."""
    for hangs_up in (False, True):
        with socket.create_connection(("127.0.0.1", port), 20) as client:
            client.sendall(said)
            if hangs_up:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while client.recv(1 << 16):
                        pass

    async def pong() -> None:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Ping("there?").event())
            assert Pong.from_event(await next_event(client)).text == "there?"

    asyncio.run(pong())


def test_who_hangs_up_while_it_is_spoken_to_leaves_no_traceback(port: int) -> None:
    async def main() -> None:
        for _ in range(5):
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await client.write_event(Synthesize(ENDLESS).event())
                await next_event(client)
                assert AudioChunk.is_type((await next_event(client)).type)
                transport = client._writer.transport
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                transport.abort()

    asyncio.run(main())


def test_what_cannot_be_spoken_is_told_and_ends_the_connection(port: int, quick: str, tmp_path: Path) -> None:
    async def asked(port: int, event: Event) -> str:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(event)
            events = await heard(client, Error)
            assert await asyncio.wait_for(client.read_event(), 60) is None
            return Error.from_event(events[-1]).text

    assert "no voice 'nobody'" in asyncio.run(asked(port, Synthesize("Hello.", SynthesizeVoice("nobody")).event()))
    assert "at most" in asyncio.run(asked(port, Synthesize("a" * 20_001).event()))
    with door(tmp_path / "keyless", quick) as keyless:
        assert "TTS_API_KEY" in asyncio.run(asked(keyless, Synthesize("Hello.").event()))
        assert "TTS_API_KEY" in asyncio.run(asked(keyless, Describe().event()))
    with door(tmp_path / "alone", "http://127.0.0.1:9") as alone:
        assert "does not answer" in asyncio.run(asked(alone, Synthesize("Hello.").event()))


@pytest.mark.parametrize(
    "options,sentence",
    [(["--uri", "http://x"], "cannot start: Only "), (["--uri", "tcp://127.0.0.1"], "cannot start: A port must")],
)
def test_what_is_typed_wrong_is_a_sentence(options: list[str], sentence: str) -> None:
    typed = [sys.executable, "-m", "server.wyoming", *options]
    told = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.returncode == 1 and sentence in told.stderr and "Traceback" not in told.stderr


def test_without_its_package_it_says_what_to_install() -> None:
    without = (
        "import sys, runpy; sys.modules['wyoming'] = None; runpy.run_module('server.wyoming', run_name='__main__')"
    )
    told = subprocess.run([sys.executable, "-c", without], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert told.returncode == 1 and "pip install -r requirements-wyoming.txt" in told.stderr
