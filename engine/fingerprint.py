"""Which model and which reference: equal in every process that has the same files, whatever their names, dates and places."""

import hashlib
from pathlib import Path

import numpy as np

from engine.checkpoint import VOCODER_FILES, Checkpoint

BLOCK_BYTES, BLOCKS = 64 * 1024, 64
"""Of a large file so many blocks are read, evenly spread: 4 MB of a gigabyte, in a few milliseconds. Training changes
every weight, so another model of the same size differs in each block."""


def of_checkpoint(checkpoint: Checkpoint) -> str:
    """Of all that decides how a text is spoken. The number format is left out: it rounds the samples, not the length."""
    facts = (checkpoint.arch, checkpoint.tokenizer, checkpoint.max_seconds, checkpoint.vocab)
    digest = hashlib.sha256(repr(facts).encode())
    parts = [checkpoint.weights, *(checkpoint.vocoder / file for file in VOCODER_FILES)]
    for file in (*parts, *([checkpoint.durations] if checkpoint.durations else [])):
        _add(digest, file)
    return digest.hexdigest()[:32]


def of_reference(model: str, samples: np.ndarray, rate: int, transcript: str) -> str:
    """Of a reference as its file was decoded, together with the model that it conditions."""
    digest = hashlib.sha256(f"{model} {rate} {transcript}".encode())
    digest.update(np.ascontiguousarray(samples).data)
    return digest.hexdigest()[:32]


def _add(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        if size <= BLOCK_BYTES * BLOCKS:
            digest.update(file.read())
            return
        for number in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
