"""Whatever is sent to the routes of voices: no 500, nothing written outside the folder, and little within it."""

import io
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile
from conftest import FIGURES, ROOT, serving

from speech.voice_files import MAX_VOICES

SAID = (ROOT / "voices" / "michael.txt").read_text().strip()
ODD = ["", "..", "../x", "a/b", "a\\b", "%2e%2e%2f", "con", "default", "michael", "Ａ", "a\0", "x" * 5000]
ODD += ["\r\n\r\n--b--", '"; x="']
FORMATS = (("WAV", None), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None), ("AIFF", None))
BOUNDARY = "b" * 12


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    folder = tmp_path_factory.mktemp("fuzzed") / "inner" / "voices"
    folder.mkdir(parents=True)
    for name in ("default.wav", "default.txt", "michael.wav", "michael.txt"):
        shutil.copy(ROOT / "voices" / name, folder)
    with (
        serving(folder.parents[1] / "log", TTS_VOICES=str(folder)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client, folder


def sounds() -> list[bytes]:
    samples, rate = soundfile.read(ROOT / "voices" / "michael.wav", dtype="float32")
    made = []
    for form, subtype in FORMATS:
        out = io.BytesIO()
        soundfile.write(out, np.stack([samples] * 2, axis=1), rate, subtype, format=form)
        made.append(out.getvalue())
    return made


def hurt(draw: random.Random, data: bytes) -> bytes:
    """As it is, cut, with bytes changed, put in or taken out; most of it near the header."""
    harmed = bytearray(data)
    for _ in range(draw.choice((0, 0, 1, 3, 20))):
        near = int(draw.expovariate(1 / 200)) if draw.random() < 0.7 else draw.randrange(len(data) + 1)
        at = min(len(harmed), near)
        match draw.randrange(4):
            case 0:
                del harmed[at:]
            case 1:
                harmed[at : at + 4] = draw.randbytes(4)
            case 2:
                harmed[at:at] = draw.randbytes(draw.randint(1, 50))
            case 3:
                del harmed[at : at + draw.randint(1, 50)]
    return bytes(harmed)


def form_of(draw: random.Random, values: dict[str, bytes], file: str) -> tuple[str, bytes]:
    """A content type and a body; `file` is the field that is one. A few are not even forms."""

    def rarely() -> bool:
        return draw.random() < 0.03

    odd_values = [b"", b"\xff\xfe", b"x" * 20_000, *(odd.encode() for odd in ODD)]
    parts = []
    for field, value in values.items():
        label = draw.choice(ODD) if rarely() else field
        as_file = '; filename="a.wav"' if (field == file) != rarely() else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{label}"{as_file}\r\n\r\n'
        parts += [head.encode() + (draw.choice(odd_values) if rarely() else value) + b"\r\n"] * draw.choices(
            (1, 0, 2), (94, 3, 3)
        )[0]
    draw.shuffle(parts)
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    kinds = [
        "",
        "text/plain",
        "multipart/form-data",
        f"multipart/form-data; boundary={'x' * 300}",
        f"{kind}; charset=x",
    ]
    return draw.choice(kinds) if rarely() else kind, hurt(draw, body) if rarely() else body


def some_name(draw: random.Random) -> str:
    letters = "".join(chr(draw.randrange(1, 0x3000)) for _ in range(3))
    return draw.choice([f"v{draw.randrange(20)}", f"v{draw.randrange(20)}", draw.choice(ODD), letters])


def fuzz(client: httpx.Client, folder: Path, rounds: int, seed: int) -> dict[int, int]:
    draw, originals, statuses = random.Random(seed), sounds(), dict[int, int]()
    before = outside(folder)
    for number in range(rounds):
        name, sound, route = some_name(draw), hurt(draw, draw.choice(originals)), draw.random()
        if route < 0.1:
            reply = client.delete(f"/voices/{quote(name, safe='')[:200] or '-'}")
        else:
            values = {"name": name.encode(), "text": SAID.encode(), "audio": sound}
            if route > 0.7:
                values = {"text": b"Hi.", "steps": b"1", "voice": name.encode(), "ref_text": SAID.encode()}
                values |= {"audio_file": sound} if draw.random() < 0.8 else {}
            kind, body = form_of(draw, values, "audio" if route <= 0.7 else "audio_file")
            reply = client.post("/voices" if route <= 0.7 else "/v1/tts", content=body, headers={"content-type": kind})
        statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
        # 307: httpx takes /voices/.. for /voices/, which is /voices.
        assert reply.status_code in (200, 201, 307, 400, 404, 405, 409, 413), (seed, number, reply.text)
        if reply.status_code >= 400:
            assert reply.json()["error"]["message"] and str(folder) not in reply.text and len(reply.text) < 1000
    assert client.get("/health").status_code == 200
    assert outside(folder) == before, "written outside of the folder of voices"
    kept = list(folder.iterdir())
    assert len(kept) <= 2 * MAX_VOICES + 1 and sum(file.stat().st_size for file in kept) < 50_000_000
    return statuses


def outside(folder: Path) -> set[str]:
    """Names around the folder, above it and in the checkout."""
    around = {str(file) for file in folder.parents[1].rglob("*") if folder not in file.parents}
    return around | {str(file) for file in ROOT.iterdir()} | {str(file) for file in (ROOT / "voices").iterdir()}


def test_no_upload_is_too_strange(served: tuple[httpx.Client, Path]) -> None:
    statuses = fuzz(*served, rounds=300, seed=1)
    assert statuses[201] > 10 and statuses[400] > 50 and statuses[409] > 10, statuses


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_upload_of_five_thousand_is_too_strange(served: tuple[httpx.Client, Path]) -> None:
    statuses = fuzz(*served, rounds=5000, seed=2)
    FIGURES["random uploads without a 500"] = sum(statuses.values())
