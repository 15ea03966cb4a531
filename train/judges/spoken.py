"""Written forms read right: a written sentence and its words must give the same phonemes.

Try: python -m train.judges.spoken ../shared/data/spoken"""

import sys
from pathlib import Path

from train import reader


def rows(file: Path) -> list[tuple[str, list[str]]]:
    """(written, accepted readings in words) of a tsv."""
    lines = [
        line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    return [(columns[-2], columns[-1].split(" | ")) for columns in lines]


def read_right(file: Path, language: str) -> list[bool]:
    def bare(text: str) -> list[str]:
        return [
            symbol.lstrip("ˈˌ")
            for symbol in reader.phonemes(text, language)
            if symbol not in (*reader.PAUSES, reader.WORD_END)
        ]

    return [bare(written) in [bare(words) for words in accepted] for written, accepted in rows(file)]


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).glob("*.tsv")):
        right = read_right(file, file.stem)
        print(f"{file.stem}: {sum(right)} of {len(right)}")
        if "--show" in sys.argv:
            for (written, accepted), ok in zip(rows(file), right, strict=True):
                if not ok:
                    print(f"  {written} | {accepted[0]} | {' '.join(reader.phonemes(written, file.stem))}")
