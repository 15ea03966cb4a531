"""What the server reads with, under the names of the recipe.

Try: python -m engine.phonemes --language vi "Chào Peter, how are you?"
"""

from engine import readers
from engine.phonemes import phonemes
from engine.symbols import PAUSES, SILENCE, VOCABULARY, WORD_END, placed, vietnamese_symbols
from engine.symbols import english_symbols as symbols_of

__all__ = ["PAUSES", "SILENCE", "VOCABULARY", "WORD_END", "english", "phonemes", "placed", "symbols_of", "vietnamese"]


def english(text: str) -> list[str]:
    return symbols_of(readers.english(text))


def vietnamese(text: str) -> list[str]:
    return vietnamese_symbols(readers.vietnamese(text))
