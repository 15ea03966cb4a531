"""The sampler in fp32 that makes again what half precision could not hold. Knows nothing of text or voices."""

from collections.abc import Generator

import torch

from engine.arch import Arch
from engine.sampler import Sampler
from engine.weights import ModelUnavailable, Read


class Fp32Fallback:
    """Loaded when it is first needed, a block at a time, and kept: a second such chunk waits for nothing."""

    def __init__(self, arch: Arch, read: Read, place: torch.device):
        self._what = arch, read, place, torch.float32
        self._sampler: Sampler | None = None
        self._loading: Generator[None, None, Sampler] | None = None

    def sampler(self) -> Generator[None, None, Sampler]:
        """Yields after each block that it loads. Raises RuntimeError where the weights cannot be read any more."""
        while self._sampler is None:
            # Several speeches may need it at once: each goes on with the same loading, whoever is dropped.
            self._loading = self._loading or Sampler.loading(*self._what)
            try:
                next(self._loading)
            except StopIteration as end:
                self._sampler = end.value
            except (ModelUnavailable, RuntimeError) as error:
                self._loading = None
                raise RuntimeError(f"the chunk needs fp32, and its weights cannot be loaded: {error}") from error
            yield
        return self._sampler
