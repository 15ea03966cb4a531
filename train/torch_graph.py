"""An ONNX graph run by torch, on the CPU or a GPU: Kokoro's, of whose operators it knows those forms that are there.

A value lives in one of three places, settled when the graph is loaded: tensors of data on the device; tensors of shape
arithmetic on the host, where reading them stops nothing; and plain Python, where torch wants sizes, axes or a scalar.
The way from one to another is a step of the plan, and a single one of Kokoro's makes the host wait for the device,
that which reads how many frames the durations add up to; so does NonZero, when all else is done.
Convolutions are matrix products, since cuDNN plans anew for every length, and speech has a new one every time.
Try, where there is a GPU: python -m train.kokoro "Hello there." hello.wav am_michael
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SECOND = "Reshape Expand Unsqueeze Squeeze Split Pad ReduceMean ReduceSum CumSum STFT"
PYTHON_INPUTS = dict.fromkeys(SECOND.split(), (1,)) | {
    "ConstantOfShape": (0,), "Range": (0, 1, 2), "Slice": (1, 2, 3, 4), "Resize": (2,),
}  # fmt: skip
"""Which inputs of an operator are sizes, axes or the like, and so plain Python."""
DATA_INPUTS = {"DynamicQuantizeLSTM": (0, 5, 6), "Resize": (0, 2), "STFT": (0, 1)}
"""Which are read when it runs, if not all."""
TYPES = {1: torch.float32, 7: torch.int64, 9: torch.bool}  # ONNX's numbers of them
GROWING = ("ConstantOfShape", "Range", "Expand")
"""From a small shape they make large data."""
SMALL = 8
"""Numbers in a constant of shape arithmetic, at most."""

Run = Callable[..., Any]
Place = Literal["device", "host", "python"]


@dataclass(frozen=True, slots=True)
class Step:
    run: Run
    reads: list[int]
    writes: list[int]
    freed: list[int] = field(default_factory=list)


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])


def _expand(x: Tensor, shape: list[int]) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def _unsqueeze(x: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def _gather(x: Tensor, index: Tensor | int, axis: int) -> Tensor:
    if isinstance(index, int):
        return x.select(axis, index)
    found = x.index_select(axis, index.reshape(-1))
    return found.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _slice(
    x: Tensor, starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None
) -> Tensor:
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[i] if axes else i, steps[i] if steps else 1
        x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


def _convolve(stride: int, pad: int, dilation: int, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """As one matrix product over all taps. x (n, channels, length), w (out, channels, taps), b (out)."""
    taps = w.shape[2]
    if taps > 1:
        windows = F.pad(x, (pad, pad)).unfold(2, (taps - 1) * dilation + 1, stride)[..., ::dilation]
        x = windows.transpose(2, 3).reshape(x.shape[0], -1, windows.shape[2])
    w = w.reshape(1, w.shape[0], -1).expand(x.shape[0], -1, -1)
    return torch.bmm(w, x) if b is None else torch.baddbmm(b.reshape(1, -1, 1), w, x)


def _convolve_transposed(
    stride: int, pad: int, more: int, group: int, x: Tensor, w: Tensor, b: Tensor | None = None
) -> Tensor:
    """What each input adds to its taps, in one product, and those added up where they meet. w (channels, out, taps)."""
    n, channels, length = x.shape
    taps = w.shape[2]
    if group == 1:
        added = torch.bmm(w.reshape(1, channels, -1).mT.expand(n, -1, -1), x)
    else:  # depthwise
        added = (x.unsqueeze(2) * w.mT).reshape(n, -1, length)
    size = (length - 1) * stride - 2 * pad + taps + more
    y = F.fold(added, (1, size), (1, taps), padding=(0, pad), stride=(1, stride)).squeeze(2)
    return y if b is None else y + b.reshape(-1, 1)


def _resize(x: Tensor, scales: list[float], mode: str) -> Tensor:
    """The last axis. Kokoro's curves become longer by whole numbers."""
    if mode == "nearest":
        return x.unsqueeze(-1).expand(*x.shape, round(scales[-1])).flatten(-2)
    return F.interpolate(x, scale_factor=scales[-1], mode="linear")


def _stft(x: Tensor, step: int, matrix: Tensor) -> Tensor:
    return (x.unfold(1, matrix.shape[0], step).double() @ matrix).float().unflatten(-1, (-1, 2))


def _stft_matrix(window: np.ndarray) -> np.ndarray:
    """(samples of a frame, bins times re, im), float64: what onnxruntime makes of a frame with a one and zeros.

    Kokoro hears the phase of every bin, of those too that hold nothing but the rounding of the transform: silence and
    voiceless sounds are coloured by it. Exact bins there are 0 / 0, and those of another FFT another colour.
    """
    import onnx
    import onnxruntime

    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 20]>
        transform (float[n, size] frames, float[size] window) => (float[n, one, bins, two] y)
        { step = Constant<value_int = 1>() y = STFT<onesided = 1>(frames, step, window) }""")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    bins: np.ndarray = session.run(None, {"frames": np.eye(len(window), dtype=np.float32), "window": window})[0]
    return bins.reshape(len(window), -1).astype(np.float64)


def _sum_up(x: Tensor, axis: int) -> Tensor:
    # In float64: the phase of the voice is such a sum, and float32 would drift away from its F0.
    return x.cumsum(axis, dtype=torch.float64).to(x.dtype) if x.is_floating_point() else x.cumsum(axis)


def _lstm(x: Tensor, h: Tensor, c: Tensor, module: torch.nn.LSTM) -> tuple[Tensor, Tensor, Tensor]:
    y, (h, c) = module(x, (h, c))
    return y.unflatten(2, (-1, module.hidden_size)).transpose(1, 2), h, c


def _lstm_module(node: Any, constants: dict[str, np.ndarray], device: str) -> torch.nn.LSTM:
    """The int8 weights of a DynamicQuantizeLSTM in fp32; what is 8-bit in its activations falls away."""
    w, r, b, ws, wz, rs, rz = (constants[node.input[i]].astype(np.float32) for i in (1, 2, 3, 8, 9, 10, 11))
    directions, size, gates = w.shape
    module = torch.nn.LSTM(size, gates // 4, bidirectional=directions == 2)
    real: dict[str, Any] = {}
    for d, end in enumerate(("_l0", "_l0_reverse")[:directions]):
        real |= {"weight_ih" + end: (w[d].T - wz[d]) * ws[d], "weight_hh" + end: (r[d].T - rz[d]) * rs[d]}
        real |= zip(("bias_ih" + end, "bias_hh" + end), np.split(b[d], 2), strict=True)
    for name, x in real.items():
        i, o, f, c = np.split(x, 4)  # ONNX's order of gates, and below torch's
        real[name] = torch.from_numpy(np.concatenate([i, f, c, o]))
    module.load_state_dict(real)
    return module.to(device).eval().requires_grad_(False)


SIMPLE: dict[str, Run] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": operator.truediv, "Pow": operator.pow,
    "And": operator.and_, "Equal": operator.eq, "Greater": operator.gt, "GreaterOrEqual": operator.ge,
    "Less": operator.lt, "MatMul": torch.matmul, "Where": torch.where, "Sqrt": torch.sqrt, "Sin": torch.sin,
    "Cos": torch.cos, "Exp": torch.exp, "Atan": torch.atan, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid,
    "Floor": torch.floor, "Round": torch.round, "Clip": torch.clamp, "Identity": lambda x: x,
    "Reshape": _reshape, "Expand": _expand, "Unsqueeze": _unsqueeze, "Slice": _slice, "CumSum": _sum_up,
    "Squeeze": lambda x, axes: x.squeeze(tuple(axes)), "Shape": lambda x: torch.tensor(x.shape),
    "ScatterND": lambda x, index, y: x.index_put(index.unbind(-1), y), "FusedMatMul": lambda x, y: x.mT @ y,
    "NonZero": lambda x: x.nonzero().T, "DequantizeLinear": lambda x, scale, zero: (x.float() - zero) * scale,
    "FastGelu": lambda x, bias: F.gelu(x + bias, approximate="tanh"),
}  # fmt: skip
"""Operators without attributes, or whose attributes are the same in all of Kokoro."""
ATTRIBUTED: dict[str, Callable[[dict[str, Any]], Run]] = {
    "Cast": lambda a: lambda x: x.to(TYPES[a["to"]]),
    "Concat": lambda a: lambda *x: torch.cat(x, a["axis"]),
    "Conv": lambda a: partial(_convolve, a["strides"][0], a["pads"][0], a["dilations"][0]),
    "ConvTranspose": lambda a: partial(
        _convolve_transposed, a["strides"][0], a["pads"][0], a.get("output_padding", [0])[0], a["group"]
    ),
    "Gather": lambda a: partial(_gather, axis=a["axis"]),
    "LayerNormalization": lambda a: lambda x, w, b: F.layer_norm(x, w.shape, w, b, a["epsilon"]),
    "LeakyRelu": lambda a: lambda x: F.leaky_relu(x, a["alpha"]),
    "Pad": lambda a: lambda x, pads: F.pad(x, (pads[x.ndim - 1], pads[-1]), mode=a["mode"].decode()),
    "ReduceMean": lambda a: lambda x, axes: x.mean(axes, bool(a["keepdims"])),
    "ReduceSum": lambda a: lambda x, axes: x.sum(axes, bool(a["keepdims"])),
    "Resize": lambda a: partial(_resize, mode=a["mode"].decode()),
    "SkipLayerNormalization": lambda a: lambda x, y, w, b: F.layer_norm(x + y, w.shape, w, b, a["epsilon"]),
    "Softmax": lambda a: lambda x: x.softmax(a["axis"]),
    "Split": lambda a: lambda x, sizes: x.split(sizes, a["axis"]),
    "Transpose": lambda a: lambda x: x.permute(a["perm"]),
}
"""Operators that have attributes: what runs a node, from the node's."""


def _bind(node: Any, constants: dict[str, np.ndarray], device: str) -> Run:
    """What runs this node on a device."""
    from onnx import helper, numpy_helper

    kind, attributes = node.op_type, {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if kind in SIMPLE:
        return SIMPLE[kind]
    if kind in ATTRIBUTED:
        return ATTRIBUTED[kind](attributes)
    if kind == "DynamicQuantizeLSTM":
        return partial(_lstm, module=_lstm_module(node, constants, device))
    if kind == "STFT":
        return partial(_stft, matrix=torch.from_numpy(_stft_matrix(constants[node.input[2]])).to(device))
    if kind == "Range":
        return partial(torch.arange, device=device)
    if kind == "ConstantOfShape":
        value = torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy())
        return partial(torch.full, fill_value=value.item(), dtype=value.dtype, device=device)
    raise ValueError(f"the graph has an operator that is not known here: {kind}")


def _on_host(nodes: list[Any], constants: dict[str, np.ndarray]) -> set[str]:
    """The values that shapes alone decide, and that are small or that sizes and axes are made of."""
    decided, host, wanted = {*constants, ""}, set[str](), set[str]()
    small = {name for name, value in constants.items() if value.size <= SMALL}
    for node in nodes:
        if node.op_type == "Shape" or decided.issuperset(node.input):
            decided.update(node.output)
            if node.op_type == "Shape" or (node.op_type not in GROWING and (host | small).issuperset(node.input)):
                host.update(node.output)
    for node in reversed(nodes):
        if host.issuperset(node.output) or (decided.issuperset(node.output) and not wanted.isdisjoint(node.output)):
            host.update(node.output)
            wanted.update(node.input if node.op_type != "Shape" else ())
        else:
            wanted.update(node.input[i] for i in PYTHON_INPUTS.get(node.op_type, ()) if i < len(node.input))
    return host


class Graph:
    """`graph(inputs)` gives the graph's outputs in their order, on `device`. ValueError: an operator is not known."""

    def __init__(self, path: str, device: str = "cpu") -> None:
        import onnx

        graph = onnx.load(path).graph
        self._device = device
        self._constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        self._slots: dict[tuple[str, Place], int] = {}
        self._start: list[Any] = []
        self._plan: list[Step] = []
        self._made: dict[str, Place] = {i.name: "device" for i in graph.input}
        self._inputs = [(i.name, self._slot(i.name, "device")) for i in graph.input]
        host = _on_host(list(graph.node), self._constants)
        for node in graph.node:
            place: Place = "host" if host.issuperset(node.output) else "device"
            taken = DATA_INPUTS.get(node.op_type, range(len(node.input)))
            reads = [self._read(node.input[i], self._wanted(node, i, place)) for i in taken]
            run = _bind(node, self._constants, "cpu" if place == "host" else device)
            self._made |= dict.fromkeys(node.output, place)
            self._plan.append(Step(run, reads, [self._slot(n, place) for n in node.output]))
        self._outputs = [self._read(o.name, "device") for o in graph.output]
        del self._constants  # those that are read are in self._start
        self._free_after_last_use()

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, np.ndarray | Tensor]) -> list[Tensor]:
        values = self._start.copy()
        for name, slot in self._inputs:
            values[slot] = torch.as_tensor(inputs[name]).to(self._device, non_blocking=True)
        for step in self._plan:
            found = step.run(*[values[i] for i in step.reads])
            for slot, value in zip(step.writes, found if len(step.writes) > 1 else (found,), strict=True):
                values[slot] = value
            for slot in step.freed:
                values[slot] = None
        return [values[slot] for slot in self._outputs]

    def _slot(self, name: str, place: Place, value: Any = None) -> int:
        self._start.append(value)
        return self._slots.setdefault((name, place), len(self._start) - 1)

    def _wanted(self, node: Any, i: int, place: Place) -> Place:
        name = node.input[i]
        if node.op_type == "Shape":
            return self._made[name]  # which is read there, not its numbers
        scalar = not name or (name in self._constants and self._constants[name].ndim == 0)
        return "python" if scalar or i in PYTHON_INPUTS.get(node.op_type, ()) else place

    def _read(self, name: str, place: Place) -> int:
        """The slot of a value in a place, brought there if it is not."""
        if (name, place) in self._slots:
            return self._slots[name, place]
        where = "cpu" if place == "host" else self._device
        if name in self._constants:
            value = self._constants[name]
            here = value.tolist() if place == "python" else torch.from_numpy(value.copy()).to(where)
            return self._slot(name, place, here)
        slot = self._slot(name, place)
        if name:  # an input that is left out is None
            bring: Run = Tensor.tolist if place == "python" else lambda x: x.to(where, non_blocking=where != "cpu")
            self._plan.append(Step(bring, [self._slots[name, self._made[name]]], [slot]))
        return slot

    def _free_after_last_use(self) -> None:
        kept = {i for i, value in enumerate(self._start) if value is not None} | set(self._outputs)
        for step in reversed(self._plan):
            step.freed.extend({*step.reads, *step.writes} - kept)
            kept.update(step.freed)
