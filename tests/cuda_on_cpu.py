"""CUDA's graphs, streams, events and kernels, played by the processor: what is captured is written down, and a replay
does it again on the same tensors. It tells of shapes, formats, copies and waiting; nothing of speed."""

import contextlib
import math
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine import batches, cuda_half, istft, sampler, stepping
from engine.step_inputs import StepInputs


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
    """Is reached when it has been asked for so often in vain."""

    in_vain = 2

    def __init__(self) -> None:
        self._asked = 0

    def record(self) -> None:
        self._asked = 0

    def query(self) -> bool:
        self._asked += 1
        return self._asked > self.in_vain


class Stream:
    def wait_stream(self, other: "Stream") -> None: ...


@contextlib.contextmanager
def _capture(graph: Recording, pool: object = None) -> Iterator[None]:
    with graph:
        yield


def rope(grid: Any, block: Any, arguments: Any) -> None:
    """kernels.cu's, by the same arguments."""
    x, cos, sin, tokens, padded, heads, part_width, row_width = arguments
    assert x.is_contiguous() and cos.dtype == sin.dtype == torch.float32 and cos.shape == (padded, 32)
    assert grid[0] * block[0] >= tokens * 2 * heads * 16
    parts = x.view(tokens // padded, padded, row_width)[..., : 2 * part_width].unflatten(-1, (2, -1, 64))
    a, b = parts[..., :heads, :32], parts[..., :heads, 32:]
    cos, sin = cos[:, None, None], sin[:, None, None]
    turned = a * cos - b * sin, b * cos + a * sin
    a.copy_(turned[0])
    b.copy_(turned[1])


def gated_norm(grid: Any, block: Any, arguments: Any) -> None:
    """kernels.cu's, by the same arguments."""
    h, y, gate, scale, shift, out, dim = arguments
    assert all(one.is_contiguous() and one.dtype == h.dtype for one in arguments[:-1])
    assert block[0] * 4 == dim and block[0] % 32 == 0 and grid[0] * dim == h.numel()
    added = torch.addcmul(h.float(), gate.float(), y.float())
    h.copy_(added)
    out.copy_(F.layer_norm(added, (dim,), scale.float(), shift.float(), 1e-6))


KERNELS = {"rope": rope, "gated_norm": gated_norm}


def packed_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """The engine's: what lies beyond the lengths is not read, and what is in no row is not written."""
    assert starts.dtype == lengths.dtype == torch.int32 and len(starts) == len(lengths) + 1
    frames = torch.arange(q.shape[0] * q.shape[1])
    row = torch.searchsorted(starts, frames, right=True) - 1
    there = (row < len(lengths)) & (frames < (starts[:-1] + lengths)[row.clamp(max=len(lengths) - 1)])
    seen = (row[:, None] == row) & there
    flat = [one.flatten(0, 1).transpose(0, 1) for one in (q, k, v)]
    # A mask would not keep what is no number in its row.
    broken = [~one.isfinite().all(dim=-1).all(dim=0) for one in flat]
    flat_q, flat_k, flat_v = (one.nan_to_num(0, 0, 0) for one in flat)
    values = F.scaled_dot_product_attention(flat_q, flat_k, flat_v, seen, scale=1.0).transpose(0, 1)
    no_number = (row == len(lengths)) | broken[0] | (seen & (broken[1] | broken[2])).any(dim=1)
    return values.masked_fill(no_number[:, None, None], math.nan).reshape(q.shape)


def play_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is made from now on takes the processor for a device that works behind."""
    for room in (istft, sampler, stepping):
        monkeypatch.setattr(room, "works_behind", lambda place: True)
    played = {
        "graph_pool_handle": lambda: None,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": Recording,
        "graph": _capture,
        "Event": Event,
        "get_device_capability": lambda device: (8, 0),
        "get_device_properties": lambda device: types.SimpleNamespace(multi_processor_count=132),
    }
    for name, one in played.items():
        monkeypatch.setattr(torch.cuda, name, one)
    monkeypatch.setattr(cuda_half, "compiled", lambda name, dtype: KERNELS[name])
    monkeypatch.setattr(sampler, "packed_attention", packed_attention)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda values: values)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **how: empty(*shape, **how))


def batches_of(monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[int]], list[int]]:
    """The frames of each batch's chunks and of its forwards, as they come."""
    together: list[list[int]] = []
    forwards: list[int] = []
    steps = batches._steps

    def told(chunks: list[batches.Waiting]) -> Iterator[StepInputs]:
        for number, inputs in enumerate(steps(chunks)):
            if not number:
                together.append([chunk.frames for chunk in chunks])
                forwards.append(len(inputs.x))
            yield inputs

    monkeypatch.setattr(batches, "_steps", told)
    return together, forwards
