"""Files of weights: what is in them, whether it is what a model reads, and the tensors. Knows nothing of models."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open

Wanted = Callable[[str], bool]
Read = Callable[[Wanted], dict[str, torch.Tensor]]
"""Reads the tensors whose names are wanted."""
Shape = tuple[int, ...]
NAMED = 3
"""So many tensors are named where more are wrong."""


class ModelUnavailable(Exception):
    """The checkpoint cannot be loaded; the message says why and what to do."""


def read_tensors(path: Path, wanted: Wanted = lambda name: True) -> dict[str, torch.Tensor]:
    """Tensors as stored, mapped from the file: what is not touched is not read. Raises ModelUnavailable."""
    with _readable(path):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118
        return {name: tensor for name, tensor in _unpickled(path).items() if wanted(name)}


def read_shapes(path: Path) -> dict[str, Shape]:
    """Of every tensor in the file. Raises ModelUnavailable for a damaged file."""
    with _readable(path):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return {name: tuple(tensor.shape) for name, tensor in _unpickled(path).items()}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, RuntimeError, UnpicklingError, EOFError, ValueError, OSError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelUnavailable(
            f"{path} cannot be read; it is damaged, cut short or of another kind: {reason}"
        ) from None


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    """A training run's file holds the averaged weights, or the weights, among other things."""
    # A vocoder's .bin may be of a format that cannot be mapped, and is small.
    stored = torch.load(path, map_location="cpu", weights_only=True, mmap=path.suffix == ".pt")
    stored = stored.get("ema_model_state_dict", stored.get("model_state_dict", stored))
    return {name: tensor for name, tensor in stored.items() if isinstance(tensor, torch.Tensor)}


def check_tensors(what: str, expected: Mapping[str, Shape], found: Mapping[str, Shape], config: str) -> None:
    """Raises ModelUnavailable unless exactly these are there: a tensor that nothing reads belongs to another model."""
    missing, unread = (sorted(a.keys() - b.keys()) for a, b in ((expected, found), (found, expected)))
    if missing:
        raise ModelUnavailable(f"{what} lacks {_named(missing)}, which {config} asks for")
    if unread:
        raise ModelUnavailable(f"{what} has {_named(unread)}, which nothing reads: {config} describes another model")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelUnavailable(f"{what} has {name} of {found[name]}, and {config} asks for {shape}")


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
