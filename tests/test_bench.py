"""The bench's rivals are honest servers: valid WAV of the same speech, and ten requests at once all succeed. Timings are not tested."""

import concurrent.futures
import io
import wave

import httpx
import pytest

from bench.rivals import BY_NAME, serving

TEXT = "Good evening. The river is quiet tonight."
NAMES = ("direct", "executor", "whole file", "+ pool", "layered", "queue + thread", "process workers", "process per line", "resource-managed")


def frames(reply: httpx.Response) -> int:
    assert reply.status_code == 200, reply.text
    with wave.open(io.BytesIO(reply.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24000, 1, 2)
        assert len(file.readframes(file.getnframes())) == 2 * file.getnframes()
        return file.getnframes()


@pytest.fixture(scope="module")
def expected() -> int:
    with serving(BY_NAME["direct"], "weightless") as server:
        return frames(httpx.post(f"http://127.0.0.1:{server.port}/tts", json={"text": TEXT, "seed": 1}))


@pytest.mark.parametrize("name", NAMES)
def test_a_rival_speaks_as_direct_does_and_ten_at_once(name, expected):
    with serving(BY_NAME[name], "weightless") as server, httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        assert frames(client.post("/tts", json={"text": TEXT, "seed": 1})) == expected
        assert client.get("/health").status_code == 200
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            replies = list(pool.map(lambda seed: client.post("/tts", json={"text": TEXT, "seed": seed}), range(10)))
        assert [frames(reply) for reply in replies] == [expected] * 10
