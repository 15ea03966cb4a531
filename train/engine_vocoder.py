"""The engine's vocoder under the names of the recipe."""

from engine.vocoder import SOURCE_FILTER_HEAD, Vocoder

__all__ = ["SOURCE_FILTER_HEAD", "Vocoder"]
