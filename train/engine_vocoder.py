"""The engine's vocoder under the names of the recipe."""

from engine.vocoder import FREE_PHASE_HEAD, OUTPUTS, SOURCE_FILTER_HEAD, Vocoder

__all__ = ["FREE_PHASE_HEAD", "OUTPUTS", "SOURCE_FILTER_HEAD", "Vocoder"]
