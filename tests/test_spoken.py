"""What people write into cues, and what is said of it: each kind in several forms. What is not said is named by --check."""

import random
from pathlib import Path

import pytest
from films import make_film, work
from scripted import scripted
from test_cues import ASS, ONE, read, texts

from subtitles import check

CUES = {
    "songs": {
        "♪ la la la\n- Stop singing!": "Stop singing!",
        "♪ la la la ♪\n- Stop singing!": "Stop singing!",
        "- ♪ la la ♪\n- Stop singing!": "Stop singing!",
        "♪ la la la\n[Bob] Stop singing!": "Stop singing!",
        "♪ a line\n♪ another line": "",
        "♫ a line\n♫ another line ♫": "",
        "♪ one line\nand its second half ♪": "",
        "♪ one line\nand its second half": "",
        "♪\nla la\n♪\nIs it over?": "Is it over?",
        "🎵 la 🎵": "",
        "🎶 La la la": "",
        "♩ la ♬": "",
        "¶ la la ¶": "",
        "&#9834; la la &#9834;": "",
        "â™ª la la â™ª": "",
        "♪ la la ♪ - Stop!": "Stop!",
        "♪♪♪": "",
        "# la la #": "",
        "# La la\nlo lo #": "",
        "# I wanna know": "",
        "#la la#": "",
        "[Anna] ♪ la la ♪": "",
        "[♪ music ♪]": "",
        "Hello ♪ la ♪ and goodbye ♪ lo ♪": "Hello and goodbye",
        "Who is it? ♪": "Who is it?",
        "#1 in the charts": "#1 in the charts",
        "Press # to go on": "Press # to go on",
        "# 5 is alive": "# 5 is alive",
        "#hashtag of the day": "#hashtag of the day",
        "Play it in C#": "Play it in C#",
    },
    "sounds": {
        "(door creaks)": "",
        "(DOOR CREAKS)\n(WIND HOWLS)": "",
        "(door creaks\nand slams)": "",
        "- (sighs)\n- (laughs)": "",
        "- (sighs)\n- Hello.": "Hello.",
        "[Anna] (sighs)": "",
        "（笑い声）": "",
        "[music] (applause)": "",
        "He (my brother) left.": "He (my brother) left.",
        "(laughs) Never.": "(laughs) Never.",
        "[door slams] Who is it?": "Who is it?",
    },
    "signs": {
        "-10 degrees tonight": "-10 degrees tonight",
        "It is\n-10 degrees": "It is -10 degrees",
        "–5 to –10": "–5 to –10",
        "−3": "−3",
        "-.5 volts": "-.5 volts",
        "-$20 a day": "-$20 a day",
        "- 10 degrees?\n- Yes.": "10 degrees? Yes.",
        "-10 people?\n-No, 12.": "10 people? No, 12.",
        "a < b and c > d": "a < b and c > d",
        "a<b and c>d": "a<b and c>d",
        "I <3 you": "I <3 you",
        "5 > 3": "5 > 3",
        "-> there": "-> there",
        "- -10 degrees": "-10 degrees",
    },
    "markup": {
        "&lt;i&gt;Hello&lt;/i&gt;": "Hello",
        "&amp;lt;b&amp;gt;Hello&amp;lt;/b&amp;gt;": "Hello",
        "Tom &amp; Jerry&#39;s &quot;show&quot;&nbsp;now": 'Tom & Jerry\'s "show" now',
        "AT&T and R&D": "AT&T and R&D",
        '<font color="red" size=2>Red</font> <B>bold</B><br/>line': "Red bold line",
        "{\\an8}Up {\\i1}there{\\i0}": "Up there",
        "<ruby>漢字<rt>かんじ</rt></ruby>": "漢字",
        "kara<00:00:03.500>oke": "karaoke",
        "kara<0:03.5>oke <c.x>now</c>": "karaoke now",
    },
    "like times": {
        "3, 2, 1 -> go": "3, 2, 1 -> go",
        "2.30 → 3.00": "2.30 → 3.00",
        "2:30 -> 3:00": "2:30 -> 3:00",
        "Open from\n2:30 --> 3:00": "Open from 2:30 --> 3:00",
        "1:02:03... and 1:02:04": "1:02:03... and 1:02:04",
        "from 1:02:03,5 to 1:02:04,5": "from 1:02:03,5 to 1:02:04,5",
        "Lap one\n00:01:02.500 and 00:01:03.250": "Lap one 00:01:02.500 and 00:01:03.250",
        "12:30": "12:30",
    },
    "line ends": {
        "Chapter One\n\nIt was late.": "Chapter One\nIt was late.",
        "Chapter One\nIt was late.": "Chapter One\nIt was late.",
        "PROLOGUE\nLong ago, in a town": "PROLOGUE\nLong ago, in a town",
        "Chương 3\nTrời đã tối.": "Chương 3\nTrời đã tối.",
        "The Beginning\nIt was late.": "The Beginning\nIt was late.",
        "Thank you\nBut no": "Thank you\nBut no",
        "第一章\n\n夜深了": "第一章\n夜深了",
        "- Yes\n- No": "Yes\nNo",
        "Two men are standing\nin front of the hotel.": "Two men are standing in front of the hotel.",
        "I told\nAnna everything": "I told Anna everything",
        "Done.\n\nIt was late.": "Done. It was late.",
        "a well-\nknown man": "a well-known man",
        "I was-\nI mean": "I was- I mean",
        "THIS IS\nALL IN CAPITALS": "THIS IS ALL IN CAPITALS",
    },
}
ROWS = [(kind, text, said) for kind, cases in CUES.items() for text, said in cases.items()]


@pytest.mark.parametrize("text,said", [row[1:] for row in ROWS], ids=[f"{kind}: {text!r}" for kind, text, _ in ROWS])
def test_a_cue_says_what_is_meant(tmp_path: Path, text: str, said: str) -> None:
    one, two, three = texts(
        tmp_path,
        f"1\n{ONE}\nBefore.\n\n2\n00:00:03,000 --> 00:00:04,000\n{text}\n\n3\n00:00:05,000 --> 00:00:06,000\nAfter.",
    )
    assert (one, two, three) == ("Before.", said, "After.")


SPEAKERS = {
    "- [Bob] Hi.\n- [Amy] Bye.": [("Bob", "Hi."), ("Amy", "Bye.")],
    "-[Bob]: Hi.\n-[Amy]: Bye.": [("Bob", "Hi."), ("Amy", "Bye.")],
    "[Bob] Hi.\n[Amy] Bye.": [("Bob", "Hi."), ("Amy", "Bye.")],
    "[Bob] Hi. [Amy] Bye.": [("Bob", "Hi."), ("Amy", "Bye.")],
    "[Bob] Hi,\nthere.\n– [Amy Lee] Bye.": [("Bob", "Hi, there."), ("Amy Lee", "Bye.")],
    "- [Bob] Hi.\n- Who?": [("Bob", "Hi."), ("", "Who?")],
    "[Bob] I [sighs] know.": [("Bob", "I know.")],
    "【Bob】Hi.": [("Bob", "Hi.")],
    ">> [Bob] Hi.": [("Bob", "Hi.")],
    "- <v Anna>Hello": [("Anna", "Hello")],
    "<v.loud Anna Lee>Hello</v>": [("Anna Lee", "Hello")],
    "<v Bob>Hi.</v>\n<v Amy>Bye.": [("Bob", "Hi."), ("Amy", "Bye.")],
    "<v Bob>Hi.</v> <v Amy>Bye.</v>": [("Bob", "Hi."), ("Amy", "Bye.")],
    "- <v Bob>Hi\n- <v Amy>Bye": [("Bob", "Hi"), ("Amy", "Bye")],
    "<v Dr. [X]>Hello": [("Dr. [X]", "Hello")],
}


@pytest.mark.parametrize("text,parts", SPEAKERS.items(), ids=map(repr, SPEAKERS))
@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_who_says_what(tmp_path: Path, text: str, parts: list[tuple[str, str]], form: str) -> None:
    content = f"WEBVTT\n\n{ONE.replace(',', '.')}\n{text}" if form == "vtt" else f"1\n{ONE}\n{text}"
    (cue,) = read(tmp_path, content)
    assert [(part.speaker, part.text) for part in cue.parts] == parts and cue.speaker == parts[0][0]


def test_an_actor_speaks_unless_a_turn_has_a_name(tmp_path: Path) -> None:
    line = "Dialogue: 0,0:00:01.00,0:00:02.00,Default,Anna,0,0,0,,"
    found = read(tmp_path, f"{ASS}{line}[sighs] Hello.\n{line}- Hi.\\N- [Bob] Bye.")
    assert [[(part.speaker, part.text) for part in cue.parts] for cue in found] == [
        [("Anna", "Hello.")],
        [("Anna", "Hi."), ("Anna", "Bye.")],
    ]


def test_two_in_a_cue_have_two_voices_and_one_file(tmp_path: Path, out: Path) -> None:
    lines = ["- [Bob] Hi.\n- [Amy] Bye.", "[Bob] Yes. [Laughs] No.", "- Yes\n- No", "[Amy] One.\n[Eve] Two."]
    film = make_film(tmp_path / "film.srt", lines)
    (tmp_path / "map.toml").write_text('bob = "b"\namy = "a"')
    with scripted(voices=["a", "b", "c"]) as server:
        options = ["--workers", "1", "--voice", "c", "--voices", str(tmp_path / "map.toml")]
        done = work(film, out, *options, servers=[server])
        assert [(line["voice"], line["text"]) for line in server.asked] == [
            ("b", "Hi."),
            ("a", "Bye."),
            ("b", "Yes. No."),  # laughter is nobody: Bob speaks on
            ("c", "Yes\nNo"),
            ("a", "One. Two."),
        ]
        assert len(list(out.glob("audio_*.wav"))) == 4 and "4/4 completed" in done.stdout


DRAWINGS = {
    "{\\p1}m 0 0{\\p0}Text after": "Text after",
    "Before{\\p1}m 0 0 l 9 9{\\p0} and after": "Before and after",
    "{\\an7\\p4}m 0 0{\\p0\\i1}Sloped{\\i0}": "Sloped",
    "{\\pos(1,2)}Placed": "Placed",
    "{\\k20}ka{\\k30}ra": "kara",
}


@pytest.mark.parametrize("text,said", DRAWINGS.items(), ids=DRAWINGS)
def test_a_drawing_is_not_its_text(tmp_path: Path, text: str, said: str) -> None:
    assert texts(tmp_path, f"{ASS}Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{text}") == [said]


YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
~
birds<00:00:00.960><c> sing</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
birds sing
~

00:00:02.399 --> 00:00:05.000 align:start position:0%
birds sing
all<00:00:02.560><c> day</c><00:00:02.900><c> long</c>

00:00:05.000 --> 00:00:05.010 align:start position:0%
all day long
~

00:00:05.010 --> 00:00:07.000 align:start position:0%
all day long
and<00:00:05.560><c> more</c>
""".replace("~", " ")  # a line of one blank, as YouTube writes it


def rolling(*shown: str, long: float = 2.0, short: float = 0.01) -> str:
    blocks, at = [], 0.0
    for number, text in enumerate(shown, 1):
        end = at + (short if text.startswith("!") else long)
        times = " --> ".join(f"00:00:{int(t):02d},{round(1000 * t) % 1000:03d}" for t in (at, end))
        blocks.append(f"{number}\n{times}\n{text.removeprefix('!')}\n")
        at = end
    return "\n".join(blocks)


ROLLING = {
    "YouTube's VTT": (YOUTUBE, ["birds sing", "", "all day long", "", "and more"]),
    "with flashes": (rolling("A", "!A", "A\nB", "!B"), ["A", "", "B", ""]),
    "without flashes": (rolling("A", "A\nB", "B\nC", "C\nD"), ["A", "B", "C", "D"]),
    "of three lines": (rolling("A", "A\nB", "A\nB\nC", "B\nC\nD"), ["A", "B", "C", "D"]),
    "growing by words": (rolling("So", "So it", "So it is", "So it is\nnow"), ["So", "it", "is", "now"]),
}


@pytest.mark.parametrize("content,said", ROLLING.values(), ids=ROLLING)
def test_rolling_captions_are_said_once(tmp_path: Path, content: str, said: list[str]) -> None:
    found = read(tmp_path, content)
    assert [cue.text for cue in found] == said
    assert [cue.file_name for cue in found] == [f"audio_{i:04d}.wav" for i in range(len(said))]


REPEATED = {
    "two say no": ["No.", "No.", "Why not?", "Because."],
    "a question taken up": ["What?", "What?\nI said no.", "Oh.", "Go.", "Now.", "So.", "Yes."],
}


@pytest.mark.parametrize("said", REPEATED.values(), ids=REPEATED)
def test_what_is_said_twice_is_said_twice(tmp_path: Path, said: list[str]) -> None:
    assert texts(tmp_path, rolling(*said)) == [" ".join(text.split()) for text in said]


def test_lines_in_vtt_without_empty_lines_between_are_all_spoken(tmp_path: Path) -> None:
    """The only line of such a cue was taken for the next one's name."""
    content = "WEBVTT\n\n00:01.000 --> 00:02.000\nOne.\n00:02.000 --> 00:03.000\nTwo.\n\nname\n00:03.000 --> 00:04.000\nThree."
    assert texts(tmp_path, content) == ["One.", "Two.", "Three."]


def test_check_says_what_is_not_spoken_and_why(tmp_path: Path, out: Path) -> None:
    cues_ = ["♪ la la\n- Stop!", "(door creaks)", "...", "[music]", "[Bob] Hi [coughs] there.", "Plain."]
    film = make_film(tmp_path / "film.srt", cues_)
    lines = work(film, out, "--check", servers=[]).stdout.splitlines()
    assert lines[1:] == [
        "line 7: nothing to say in '(door creaks)': '(door creaks)', a sound in brackets",
        "line 11: nothing to say in '...': there is no letter or digit",
        "line 15: nothing to say in '[music]': '[music]', a sound in brackets",
        "line 2: not spoken: 'la la', a song",
        "line 19: not spoken: '[coughs]', a sound in brackets",
    ]


def test_whatever_a_cue_shows_is_said_or_named(tmp_path: Path) -> None:
    """Random cues of these pieces: every word is spoken, or stands in what --check prints."""
    draw = random.Random(15)
    pieces = [
        "♪",
        "♪ ",
        " #",
        "# ",
        "- ",
        "[Bob] ",
        "(",
        ")",
        "[",
        "]",
        "\n",
        "\n\n",
        " ",
        ". ",
        "<i>",
        "</i>",
        "<",
        "-",
    ]
    for _ in range(400):
        words = [f"w{number}x" for number in range(draw.randrange(1, 7))]
        text = "".join(draw.choice(pieces) + word + draw.choice(["", *pieces]) for word in words)
        (cue,) = read(tmp_path, f"{ONE}\n{text}\n\n{ONE}\nAfter.")[:1]
        printed = " ".join(check.report([cue], tmp_path, {}, 4.0))
        for word in words:
            assert word in cue.text or word in printed, (text, cue)
