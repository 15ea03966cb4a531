"""The sampler against upstream's CFM.sample: fp32, CPU, the same noise."""

from collections.abc import Generator
from typing import Any

import pytest
import torch
from conftest import held
from f5_tts.model import CFM
from f5_tts.model.backbones.dit import DiT
from f5_tts.model.utils import convert_char_to_pinyin, list_str_to_idx

from engine.arch import Arch
from engine.sampler import Sampler
from engine.stepping import run_to_end

REFERENCE = 30
SMALL: dict[str, Any] = dict(dim=128, depth=3, heads=2, ff_mult=2, text_dim=64, conv_layers=2)
ARCHS: dict[str, dict[str, Any]] = {
    "v1": dict(SMALL, text_mask_padding=True, pe_attn_head=None),
    "v0": dict(SMALL, text_mask_padding=False, pe_attn_head=1),
    "upsampled": dict(SMALL, text_mask_padding=True, pe_attn_head=None, text_embedding_average_upsampling=True),
    "qk_norm": dict(SMALL, text_mask_padding=True, pe_attn_head=None, qk_norm="rms_norm"),
}
LETTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'0123456789"


def upstream(arch: dict[str, Any], vocab: dict[str, int]) -> CFM:
    torch.manual_seed(0)
    model = CFM(DiT(**arch, text_num_embeds=len(vocab), mel_dim=100), vocab_char_map=vocab).eval()
    with torch.no_grad():  # upstream starts AdaLN, GRN and the output at zero, where a wrong layer would not show
        for parameter in model.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.02)
    return model


class Case:
    """One reference, text and noise, with the mel that upstream makes of them."""

    def __init__(self, name: str, kind: str, frames: int, steps: int):
        sentence = "A reference. Then what is said, in 12 words: 你好 maybe.  "
        tokens = convert_char_to_pinyin([sentence])[0] if kind == "pinyin" else list(sentence)
        vocab = {c: i for i, c in enumerate(sorted(set(LETTERS) | set(tokens)))}
        model = upstream(ARCHS[name], vocab)
        self.reference = torch.randn(REFERENCE, 100, generator=torch.Generator().manual_seed(1)) * 2 - 5
        expected, _ = model.sample(
            self.reference[None], [tokens], frames, steps=steps, cfg_strength=2.0, sway_sampling_coef=-1.0, seed=5
        )
        self.expected, self.steps = expected[0, REFERENCE:], steps
        self.ids = list_str_to_idx([tokens], vocab)[0]
        frames = max(frames, len(self.ids) + 1)  # upstream's own rule
        self.noise = torch.randn(frames, 100, generator=torch.Generator().manual_seed(5))
        self._arch, self._weights = (
            Arch(**ARCHS[name]),
            {k.removeprefix("transformer."): v for k, v in model.state_dict().items()},
        )

    def sampler(self, dtype: torch.dtype, device: str = "cpu") -> Sampler:
        return Sampler(self._arch, held(self._weights), torch.device(device), dtype)

    def solving(self, sampler: Sampler) -> Generator[None, None, torch.Tensor]:
        reference, ids, noise = (tensor.to(sampler.device) for tensor in (self.reference, self.ids, self.noise))
        return sampler.solve(reference, ids, noise, self.steps, 2.0)

    def difference(self, mel: torch.Tensor) -> float:
        return float((mel[REFERENCE:].cpu() - self.expected).abs().max())

    def likeness(self, mel: torch.Tensor) -> float:
        a, b = mel[REFERENCE:].cpu().flatten(), self.expected.flatten()
        return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize("kind", ["pinyin", "char"])
@pytest.mark.parametrize("name", ARCHS)
@pytest.mark.parametrize("frames,steps", [(40, 7), (161, 5), (300, 16), (513, 7), (750, 3), (2000, 2)])
@torch.inference_mode()
def test_same_mel_as_upstream(name: str, kind: str, frames: int, steps: int) -> None:
    case = Case(name, kind, frames, steps)
    difference = case.difference(run_to_end(case.solving(case.sampler(torch.float32))))
    assert difference <= 1e-3, f"{name} {kind} {frames} frames {steps} steps: {difference:.1e}"
    if frames in (513, 2000):
        likeness = case.likeness(run_to_end(case.solving(case.sampler(torch.bfloat16))))
        assert likeness >= 0.9995, f"{name} {kind} {frames} frames in bf16: cosine {likeness:.5f}"


def in_turns(sampler: Sampler, cases: list[Case]) -> list[float]:
    """How like upstream's each mel is, when all are solved step by step in turns."""
    running, likeness = {case: case.solving(sampler) for case in cases}, []
    while running:
        for case in list(running):
            try:
                next(running[case])
            except StopIteration as end:
                likeness.append(case.likeness(end.value))
                del running[case]
    return likeness
