"""CUDA's graphs, streams and events, played by the processor: what is captured is written down, and a replay does it
again on the same tensors. It tells of shapes, formats, copies and waiting; nothing of speed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine import sampler, stepping


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A graph: each operation on tensors while it is entered, and where its results went."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._done: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        results = tree_leaves(result)
        if not all(isinstance(one, torch.Tensor) for one in results):
            raise RuntimeError("a tensor was asked for its value while a graph was captured")
        self._done.append((operation, args, kwargs or {}, results))
        return result

    def replay(self) -> None:
        for operation, args, kwargs, results in self._done:
            for old, new in zip(results, tree_leaves(operation(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():  # else it was changed in place, or is a view
                    old.copy_(new)


class Event:
    """Is reached when it was asked for the third time."""

    def __init__(self) -> None:
        self._asked = 0

    def record(self) -> None:
        self._asked = 0

    def query(self) -> bool:
        self._asked += 1
        return self._asked > 2


class Stream:
    def wait_stream(self, other: "Stream") -> None: ...


@contextlib.contextmanager
def _capture(graph: Recording, pool: object = None) -> Iterator[None]:
    with graph:
        yield


def play_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is made from now on takes the processor for a device that works behind."""
    for room in (sampler, stepping):
        monkeypatch.setattr(room, "works_behind", lambda place: True)
    played = {
        "graph_pool_handle": lambda: None,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": Recording,
        "graph": _capture,
        "Event": Event,
    }
    for name, one in played.items():
        monkeypatch.setattr(torch.cuda, name, one)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **how: empty(*shape, **how))
