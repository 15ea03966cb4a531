"""A corpus of hostile subtitles: each is read as stated here, or refused with the number of its line."""

import random
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from subtitles import cues

ONE, TWO = "00:00:01,000 --> 00:00:02,000", "00:00:03,000 --> 00:00:04,500"
PLAIN = f"1\n{ONE}\nGood evening.\n\n2\n{TWO}\nThe river\nis quiet.\n"
ASS = "[Script Info]\nTitle: x\n\n[V4+ Styles]\nStyle: broken,,x\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"


def texts(folder: Path, content: str | bytes) -> list[str]:
    return [cue.text for cue in read(folder, content)]


def read(folder: Path, content: str | bytes) -> list[cues.Cue]:
    file = folder / "film.srt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    found: list[cues.Cue] = cues.read(file)[0]
    return found


SPOKEN = {
    "plain": (PLAIN, ["Good evening.", "The river is quiet."]),
    "a byte order mark": ("\ufeff" + PLAIN, ["Good evening.", "The river is quiet."]),
    "CRLF": (PLAIN.replace("\n", "\r\n"), ["Good evening.", "The river is quiet."]),
    "CR alone": (PLAIN.replace("\n", "\r"), ["Good evening.", "The river is quiet."]),
    "CR CR LF, converted twice": (PLAIN.replace("\n", "\r\r\n"), ["Good evening.", "The river is quiet."]),
    "an empty line after every line": (PLAIN.replace("\n", "\n\n"), ["Good evening.", "The river is quiet."]),
    "no empty line between cues": (PLAIN.replace("\n\n", "\n"), ["Good evening.", "The river is quiet."]),
    "no numbers": (f"{ONE}\nHello.\n\n{TWO}\nThere.", ["Hello.", "There."]),
    "wrong numbers": (f"9\n{ONE}\nHello.\n\n9\n{TWO}\nThere.", ["Hello.", "There."]),
    "a number after the last cue": (PLAIN + "\n3\n", ["Good evening.", "The river is quiet."]),
    "number-only lines": (f"1\n{ONE}\n42\n\n2\n{TWO}\nIn the year\n1984", ["42", "In the year 1984"]),
    "a number-only line above an unnumbered cue": (f"{ONE}\nChapter\n7\n\n{TWO}\n8", ["Chapter 7", "8"]),
    "the next number as text": (f"1\n{ONE}\n2\n\n2\n{TWO}\n3", ["2", "3"]),
    "an empty cue": (f"1\n{ONE}\n\n2\n{TWO}\nAfter it.", ["", "After it."]),
    "an empty cue without empty line": (f"1\n{ONE}\n2\n{TWO}\nAfter it.", ["", "After it."]),
    "an empty cue with two empty lines": (f"1\n{ONE}\n\n\n2\n{TWO}\nAfter it.", ["", "After it."]),
    "an empty last cue": (f"1\n{ONE}\nBefore it.\n\n2\n{TWO}\n", ["Before it.", ""]),
    "an empty line inside a text": (f"1\n{ONE}\nOne.\n\nTwo.\n\n2\n{TWO}\nThree.", ["One. Two.", "Three."]),
    "style tags": (f"1\n{ONE}\n<i>So</i> <font color=red>it</font> {{\\an8}}is,<br>a &amp; b.", ["So it is, a & b."]),
    "sounds": (f"1\n{ONE}\n[door slams] Who is it? ♪\n\n2\n{TWO}\n♪ la la\nla ♪", ["Who is it?", ""]),
    "two speakers": (f"1\n{ONE}\n- Hello.\n- Good day.", ["Hello. Good day."]),
    "nothing but signs": (f"1\n{ONE}\n...\n\n2\n{TWO}\n👋", ["", ""]),
    "right to left": (f"1\n{ONE}\n\u202bשלום לכולם\u202c", ["שלום לכולם"]),
    "control characters": (f"1\n{ONE}\nBell\x07, zero\u200b width.", ["Bell, zero width."]),
    "settings after the time": (PLAIN.replace(ONE, ONE + " X1:100 X2:200"), ["Good evening.", "The river is quiet."]),
    "accents in two pieces": (f"1\n{ONE}\n" + unicodedata.normalize("NFD", "Xin chào"), ["Xin chào"]),
    "VTT": (
        "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE not spoken\nnor this\n\nintro\n00:01.000 --> 00:02.000 align:start\n"
        "Hi <00:00:01.500><c.loud>there</c>\n\nNOTE nor that\n\n1\n00:03.000 --> 01:00:04.000\n42\n\nend\n01:00:04.000 --> 01:00:05.000\n&lt;3",
        ["Hi there", "42", "<3"],
    ),
    "ASS": (
        ASS
        + "Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not shown\nDialogue: 0,0:00:01.00,0:00:02.50,Default,Anna,0,0,0,,{\\i1}Well{\\i0}, so\\Nbe it\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 9 9",
        ["Well, so be it"],
    ),
}


@pytest.mark.parametrize("content,spoken", SPOKEN.values(), ids=SPOKEN)
def test_hostile_files_are_spoken_as_meant(tmp_path: Path, content: str | bytes, spoken: list[str]) -> None:
    assert texts(tmp_path, content) == spoken


def test_an_empty_cue_does_not_speak_the_next_ones_number_and_time(tmp_path: Path) -> None:
    """The earlier client did: its pattern took everything up to the next empty line for text."""
    for gap in ("", "\n", "\n\n"):
        assert texts(tmp_path, f"1\n{ONE}\n{gap}2\n{TWO}\nHello.") == ["", "Hello."]


REFUSED = {
    "a broken time": (f"1\n{ONE}\nHello.\n\n2\n00:00:0x,000 --> 00:00:04,000\nThere.", 6),
    "dots for colons": ("1\n00.00.01,000 --> 00.00.02,000\nHello.", 2),
    "a typographer's arrow": ("1\n00:00:01,000 → 00:00:02,000\nHello.", 2),
    "a negative time": ("1\n-00:00:01,000 --> 00:00:02,000\nHello.", 2),
    "half a time": (f"1\n{ONE}\nHello.\n\n2\n00:00:03,000 -->\nThere.", 6),
    "a hundred hours": ("1\n100:00:01,000 --> 100:00:02,000\nHello.", 2),
    "75 seconds": ("1\n00:00:75,000 --> 00:01:16,000\nHello.", 2),
    "an end before its start": (f"1\n{ONE}\nHello.\n\n2\n00:00:05,000 --> 00:00:03,000\nThere.", 6),
    "a cue without a time": (f"1\n{ONE}\nHello.\n\n2\nLost.\n\n3\n{TWO}\nThere.", 5),
    "a last cue without a time": (f"1\n{ONE}\nHello.\n\n2\nLost.", 5),
    "text above the first time": (f"Once upon a time\n\n1\n{ONE}\nHello.", 1),
    "a line in another encoding": (
        f"1\n{ONE}\nĐây là một ngày đẹp trời.\n\n2\n{TWO}\n".encode() + "déjà".encode("cp1252"),
        7,
    ),
    "text after an empty line in VTT": (
        "WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n\nLost.\n\n00:03.000 --> 00:04.000\nThere.",
        6,
    ),
    "half an ASS line": (ASS + "Dialogue: 0,0:00:01.00,0:00:02.00", 9),
    "an ASS time with a letter": (ASS + "Dialogue: 0,0:00:01.00,0:00:0x.00,Default,,0,0,0,,Hello", 9),
    "ASS fields in another order": (ASS.replace("Start, End", "End, Start"), 8),
}


@pytest.mark.parametrize("content,line", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path: Path, content: str | bytes, line: int) -> None:
    with pytest.raises(cues.BadSubtitle, match=rf"line {line}: "):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    ["", "just a text", b"\x89PNG\0\1\2\3" * 9, "{1}{50}MicroDVD"],
    ids=["empty", "text", "an image", "frames"],
)
def test_what_is_no_subtitle_is_refused(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(cues.BadSubtitle, match=r"has no cue|not text"):
        read(tmp_path, content)


TIMES = {
    "00:00:01,000 --> 00:00:02,000": (1, 2),
    "00:00:01.500 --> 00:00:02.250": (1.5, 2.25),
    "00:01,500 --> 01:02,000": (1.5, 62),
    "1:02:03,5 --> 1:02:04,25": (3723.5, 3724.25),
    "00:00:01 --> 00:00:02": (1, 2),
    "00:00:01,000-->00:00:01,000": (1, 1),
    "  00:00:01,000  ->  99:59:59,999  ": (1, 359999.999),
}


@pytest.mark.parametrize("written,seconds", TIMES.items(), ids=TIMES)
def test_times_as_people_write_them(tmp_path: Path, written: str, seconds: tuple[float, float]) -> None:
    (cue,) = read(tmp_path, f"1\n{written}\nHello.")
    assert (cue.start, cue.end) == seconds


def vietnamese_1258(text: str) -> bytes:
    """As Windows writes it: the tone is a character of its own, after the vowel."""
    pieces = []
    for letter in unicodedata.normalize("NFC", text):
        tones = [c for c in unicodedata.normalize("NFD", letter) if c in "\u0300\u0301\u0303\u0309\u0323"]
        base = unicodedata.normalize("NFC", "".join(c for c in unicodedata.normalize("NFD", letter) if c not in tones))
        pieces.append(letter if letter in "àáèéíóúù" else base + "".join(tones))
    return "".join(pieces).encode("cp1258")


ENCODED = {
    "UTF-16": ("Xin chào, hôm nay trời đẹp quá.", lambda s: s.encode("utf-16")),
    "UTF-16 without a mark": ("Xin chào, hôm nay trời đẹp quá.", lambda s: s.encode("utf-16-le")),
    "cp1258": ("Xin chào, hôm nay trời đẹp quá. Tôi muốn uống một ly cà phê sữa đá.", vietnamese_1258),
    "cp1252": ("Il était déjà très tard — l’été, ça brûle.", lambda s: s.encode("cp1252")),
    "cp1250": ("Dobry wieczór, jak się masz? Łódź jest piękna.", lambda s: s.encode("cp1250")),
    "cp1251": ("Добрый вечер, как ваши дела сегодня?", lambda s: s.encode("cp1251")),
    "Shift JIS": ("こんばんは。今日は静かな川です。", lambda s: s.encode("shift_jis")),
    "GB 18030": ("晚上好，今天的河很安静。", lambda s: s.encode("gb18030")),
}


@pytest.mark.parametrize("text,encode", ENCODED.values(), ids=ENCODED)
def test_encodings_are_recognised(tmp_path: Path, text: str, encode: Callable[[str], bytes]) -> None:
    assert texts(tmp_path, encode(f"1\n{ONE}\n{text}\n")) == [text]


def test_cues_keep_the_files_order_and_room_follows_the_films(tmp_path: Path) -> None:
    found = read(tmp_path, f"1\n{TWO}\nLater.\n\n2\n{ONE}\nEarlier.\n\n3\n00:00:02,500 --> 00:00:02,600\n[music]\n")
    assert [(cue.index, cue.text, cue.file_name) for cue in found[:2]] == [
        (0, "Later.", "audio_0000.wav"),
        (1, "Earlier.", "audio_0001.wav"),
    ]
    assert cues.rooms(found) == {
        0: 1.5,
        1: 2.0,
    }  # the silence up to the next speech is borrowed, music is not speech, the last keeps its slot


def test_speakers_are_tags_actors_and_vtt_voices(tmp_path: Path) -> None:
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.loud Anna Lee>Hello."
    assert [(c.speaker, c.text) for c in read(tmp_path, vtt)] == [("Anna Lee", "Hello.")]
    assert [(c.speaker, c.text) for c in read(tmp_path, f"{ONE}\n[Anna]: Hello.")] == [("Anna", "Hello.")]
    ass = ASS + "Dialogue: 0,0:00:01.00,0:00:02.00,Default,Anna,0,0,0,,Hello."
    assert [(c.speaker, c.text) for c in read(tmp_path, ass)] == [("Anna", "Hello.")]


def test_a_cue_after_any_other_cue_is_still_itself(tmp_path: Path) -> None:
    """Random files of numbered cues, some empty, some only numbers: what was written comes back."""
    draw = random.Random(5)
    for _ in range(60):
        said = [draw.choice(["", "42", "7\n8", "Hello.", "One.\nTwo.", "1", "2", "3", "Room\n101"]) for _ in range(6)]
        gap = draw.choice(["\n", "\n\n"])
        content = gap.join(
            f"{i + 1}\n00:00:{i:02d},000 --> 00:00:{i + 1:02d},000\n{text}\n" for i, text in enumerate(said)
        )
        assert texts(tmp_path, content) == [" ".join(text.split()) for text in said], content


def test_check_reports_without_a_server(tmp_path: Path) -> None:
    film = tmp_path / "film.srt"
    film.write_text(
        f"1\n{TWO}\n[bob] Later.\n\n2\n{ONE}\n{'Far too much text for a second. ' * 3}\n\n3\n00:00:01,500 --> 00:00:02,500\n[music]\n\n4\n{TWO}\n"
    )
    (tmp_path / "map.toml").write_text('Anna = "default"')
    command = [
        sys.executable,
        "tts_worker.py",
        "--srt",
        str(film),
        "--check",
        "--voices",
        str(tmp_path / "map.toml"),
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not (tmp_path / "out").exists()
    lines = done.stdout.splitlines()
    assert lines[0].endswith("4 cues, 2 with something to say, 4.5 s")
    assert "line 10: nothing to say in '[music]': '[music]', a sound in brackets" in lines and "line 14: empty" in lines
    assert "line 6: starts before the cue above it (line 2)" in lines
    assert "line 10: overlaps line 6 by 0.50 s" in lines
    assert any(line.startswith("line 6: too much text: about 5.9 s") for line in lines)
    assert "no voice of their own: bob (1)" in lines


def test_ten_thousand_cues_are_read_in_bounded_memory(tmp_path: Path) -> None:
    film = tmp_path / "film.srt"
    clock = [f"{i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}" for i in range(10_000)]
    film.write_text(
        "\n".join(f"{i + 1}\n{at},000 --> {at},900\nThis is cue number {i}.\n" for i, at in enumerate(clock))
    )
    code = f"import pathlib; from subtitles import cues; print(len(cues.read(pathlib.Path({str(film)!r}))[0]), *open('/proc/self/status'))"
    count, *status = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    megabytes = int(status[status.index("VmHWM:") + 1]) / 1000
    assert int(count) == 10_000
    assert megabytes < 80, f"{megabytes:.0f} MB"
