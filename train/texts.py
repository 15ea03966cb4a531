"""Sentences to train on, made from what the machine has, and the held-out ones never trained on.

English: everyday patterns filled at random, phrases of dictionary words, package descriptions.
Vietnamese: translated program messages and random phrases over the whole spelling dictionary.
Try: python -m train.texts en 10
"""

import functools
import gettext
import glob
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HELD_OUT = Path(__file__).parent / "heldout"
DICTIONARY = Path("/usr/share/dict/american-english")

PEOPLE = """my sister|our teacher|the old farmer|a young doctor|the captain|her neighbor|the children|his brother
the tall man
the woman next door|a good friend|the driver|the cook|everyone|nobody|the mayor|the whole family|the boys|the girls
the king
my uncle|your mother|the painter|a stranger|the nurse|the students|Mary|John|Peter|Susan|Doctor Brown
Mister Jones""".replace("\n", "|").split("|")
DID = """found|lost|carried|opened|painted|forgot|wanted|bought|sold|watched|followed|remembered|broke|fixed|washed|hid
moved
brought back|looked at|talked about|asked for|waited for|thought about|picked up|put down|needed|heard|saw|felt|drew
gave away
could not see|would never leave|should keep|might enjoy|was afraid of|is going to visit|has always loved
will show us""".replace("\n", "|").split("|")
THINGS = """the small boat|a red apple|the kitchen table|an empty box|the garden gate|two white horses|the last train
a heavy stone
the morning paper|a cup of coffee|the broken window|his new shoes|a piece of bread|the long road|the blue house
an orange ball
the school bus|a pair of gloves|some fresh milk|the bright lamp|the cold river|a thick book|the quiet street
a birthday cake
the green field|their first choice|the wooden bridge|a silver ring|the old church|the wide ocean|a yellow bird
the top shelf
the measure of pleasure|a large choice of toys|the voice of reason|a few warm clothes|both of the judges
the thing they chose""".replace("\n", "|").split("|")
WHERE = """near the station|after lunch|in the early morning|behind the hill|at the end of the day|before the storm
on the roof
under the bridge|across the valley|during the war|without a word|with great care|by the lake|over the weekend
in the city
next to the fire|through the forest|around the corner|along the beach|all night long|since last July
for the very first time
at half past seven|in the middle of winter|beyond the mountains|every Thursday|as usual|with their father
toward the north""".replace("\n", "|").split("|")
OPENERS = """However|In fact|Of course|Yesterday|Last week|Sometimes|To be honest|As far as I know|Every now and then
Well|Oh no|Yes
Later that evening|On Monday|Once again|For example|After a while|By the way|Please listen|Suddenly|Still
At first""".replace("\n", "|").split("|")
QUESTIONS = """Did {p} really {v} {t}?|Where is {t}?|Why was {p} standing {w}?|Who {d} {t} {w}?|When will {p} come home?
Have you seen {t}?|How much does {t} cost?|What happened to {p} {w}?|Can you hear {p}?
Which of them {d} {t}?""".replace("\n", "|").split("|")
BARE = """find lose carry open paint forget want buy sell watch follow remember break fix wash hide move need hear
choose use""".split()
JOINS = ["and", "but", "because", "while", "so", "until", "although", "if", "when", "or"]
FUNCTION = "the a of to in and is was for with that on as at by from this they were are it".split()


def english_sentence(draw: random.Random, words: list[str], about: list[str]) -> str:
    """3 to about 24 words: dictionary words in a row, a package's description, or a pattern filled at random."""
    kind = draw.random()
    if kind < 0.3 and words:
        phrase = [
            draw.choice(words) if draw.random() < 0.7 else draw.choice(FUNCTION) for _ in range(draw.randint(4, 11))
        ]
        if draw.random() < 0.3:
            phrase[len(phrase) // 2] += ","
        return " ".join(phrase).capitalize() + "."
    if kind < 0.5 and about:
        return draw.choice(about)
    return _everyday(draw)


@functools.cache
def dictionary() -> list[str]:
    """Lower-case English words, or none where Debian's wamerican is missing."""
    return [w for w in DICTIONARY.read_text().split() if re.fullmatch(r"[a-z]{2,11}", w)] if DICTIONARY.exists() else []


@functools.cache
def package_sentences() -> list[str]:
    """One-line descriptions of what Debian offers, sorted: the same ones whenever the lists are."""
    return sorted(set(_package_sentences(package_descriptions() or "")))


def _everyday(draw: random.Random) -> str:
    def clause() -> str:
        return f"{draw.choice(PEOPLE)} {draw.choice(DID)} {draw.choice(THINGS)}" + (
            f" {draw.choice(WHERE)}" if draw.random() < 0.5 else ""
        )

    kind = draw.random()
    if kind < 0.15:
        fill = dict(
            p=draw.choice(PEOPLE), t=draw.choice(THINGS), w=draw.choice(WHERE), v=draw.choice(BARE), d=draw.choice(DID)
        )
        return draw.choice(QUESTIONS).format(**fill)
    if kind < 0.3:
        number = draw.choice([draw.randint(1, 20), draw.randint(20, 99), draw.randint(100, 9999)])
        unit = draw.choice(
            ["miles", "people", "days", "dollars", "books", "minutes", "pounds", "houses", "trees", "times"]
        )
        return draw.choice(
            [
                f"There were {number} {unit} {draw.choice(WHERE)}.",
                f"It took {number} {unit}, {draw.choice(PEOPLE)} said.",
                f"{draw.choice(OPENERS)}, we counted {number} {unit}.",
                f"Number {number} is {draw.choice(THINGS)}.",
            ]
        )
    if kind < 0.5:
        return f"{draw.choice(OPENERS)}, {clause()}."
    if kind < 0.7:
        return f"{clause()}{draw.choice([', ', ' '])}{draw.choice(JOINS)} {clause()}.".capitalize()
    if kind < 0.8:
        return (
            f"{draw.choice(THINGS)}, {draw.choice(THINGS)}, and {draw.choice(THINGS)}{draw.choice('.!')}".capitalize()
        )
    return clause().capitalize() + draw.choice("....!")


def _package_sentences(listing: str) -> Iterator[str]:
    for line in listing.splitlines():
        line = line.removeprefix("Description: ")
        if re.fullmatch(r"[A-Za-z][a-z]*( [a-z][a-z'-]*,?){3,13}", line) and len(line) < 90:
            yield line.capitalize() + "."


def vietnamese(count: int, seed: int, held_out: set[str], dictionary: Path, messages: Path) -> list[str]:
    """`count` different phrases of 3 to 12 syllables: every dictionary syllable occurs if `count` allows."""
    draw = random.Random(seed)
    words = [w for w in dictionary.read_text(encoding="utf-8").split()[1:] if re.fullmatch(r"[a-zà-ỹđăâêôơư]+", w)]
    said = list(_messages(messages))
    made: dict[str, None] = {}
    deck: list[str] = []
    while len(made) < count:
        if said and draw.random() < 0.5:
            sentence = draw.choice(said)
        else:
            size = draw.randint(3, 12)
            if len(deck) < size:
                deck = draw.sample(words, len(words))
            phrase, deck = deck[:size], deck[size:]
            if size > 6 and draw.random() < 0.5:
                phrase[size // 2] += ","
            sentence = " ".join(phrase).capitalize() + draw.choice("...?!")
        if sentence.lower() not in held_out:
            made[sentence] = None
    return list(made)


def _messages(folder: Path) -> Iterator[str]:
    seen: set[str] = set()
    for name in sorted(glob.glob(str(folder / "*.mo"))):
        with open(name, "rb") as file:
            catalog: dict = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for message in catalog.values():
            for part in re.split(r"[\n.;:()]+", message if isinstance(message, str) else ""):
                part = part.strip()
                if (
                    re.fullmatch(r"[A-ZĐÀ-Ỹ]?[a-zà-ỹđăâêôơư ,]{12,70}", part)
                    and part not in seen
                    and re.search("[ạảấầậắếềểệộốồổớờởợứừự]", part)
                ):
                    seen.add(part)
                    yield part.capitalize() + "."


def held_out(language: str) -> list[str]:
    return (HELD_OUT / f"{language}.txt").read_text(encoding="utf-8").split("\n")[:-1]


def package_descriptions() -> str | None:
    """One-line descriptions of every package Debian offers, or None on other systems."""
    try:
        return subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    language, count = sys.argv[1], int(sys.argv[2])
    if language == "en":
        source = random.Random(0)
        print("\n".join(english_sentence(source, dictionary(), package_sentences()) for _ in range(count)))
    else:
        print(
            "\n".join(
                vietnamese(
                    count, 0, set(), Path("/usr/share/hunspell/vi_VN.dic"), Path("/usr/share/locale/vi/LC_MESSAGES")
                )
            )
        )
