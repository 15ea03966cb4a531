"""The sampler against upstream's CFM.sample: fp32, CPU, the same noise."""

from typing import Any

import pytest
import torch
from conftest import held, solved
from f5_tts.model import CFM
from f5_tts.model.backbones.dit import DiT
from f5_tts.model.utils import convert_char_to_pinyin, list_str_to_idx

from sampler import Arch, Sampler

SMALL: dict[str, Any] = dict(dim=128, depth=3, heads=2, ff_mult=2, text_dim=64, conv_layers=2)
ARCHS: dict[str, dict[str, Any]] = {
    "v1": dict(SMALL, text_mask_padding=True, pe_attn_head=None),
    "v0": dict(SMALL, text_mask_padding=False, pe_attn_head=1),
    "qk_norm": dict(SMALL, text_mask_padding=True, pe_attn_head=None, qk_norm="rms_norm"),
}
LETTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'0123456789"


def upstream(arch: dict, vocab: dict[str, int]) -> CFM:
    torch.manual_seed(0)
    model = CFM(DiT(**arch, text_num_embeds=len(vocab), mel_dim=100), vocab_char_map=vocab).eval()
    with torch.no_grad():  # upstream starts AdaLN, GRN and the output at zero, where a wrong layer would not show
        for parameter in model.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.02)
    return model


@pytest.mark.parametrize("kind", ["pinyin", "char"])
@pytest.mark.parametrize("name", ARCHS)
@pytest.mark.parametrize("frames,steps", [(40, 7), (161, 5), (300, 16), (513, 7), (750, 3)])
def test_same_mel_as_upstream(name, kind, frames, steps):
    sentence = "A reference. Then what is said, in 12 words: 你好 maybe.  "
    tokens = convert_char_to_pinyin([sentence])[0] if kind == "pinyin" else list(sentence)
    vocab = {c: i for i, c in enumerate(sorted(set(LETTERS) | set(tokens)))}
    model = upstream(ARCHS[name], vocab)
    reference = torch.randn(30, 100, generator=torch.Generator().manual_seed(1)) * 2 - 5
    expected, _ = model.sample(reference[None], [tokens], frames, steps=steps, cfg_strength=2.0, sway_sampling_coef=-1.0, seed=5)

    ids = list_str_to_idx([tokens], vocab)[0]
    frames = max(frames, len(ids) + 1)  # upstream's own rule
    noise = torch.randn(frames, 100, generator=torch.Generator().manual_seed(5))
    weights = {k.removeprefix("transformer."): v for k, v in model.state_dict().items()}
    sampler = Sampler(Arch(**ARCHS[name]), held(weights), torch.device("cpu"), torch.float32)
    mel = solved(sampler, reference, ids, noise, steps, 2.0)
    difference = (mel[30:] - expected[0, 30:]).abs().max().item()
    assert difference <= 1e-3, f"{name} {kind} {frames} frames {steps} steps: {difference:.1e}"
    if steps == 7:
        mel = solved(Sampler(Arch(**ARCHS[name]), held(weights), torch.device("cpu"), torch.bfloat16), reference, ids, noise, steps, 2.0)
        alike = torch.nn.functional.cosine_similarity(mel[30:].flatten(), expected[0, 30:].flatten(), dim=0).item()
        assert alike >= 0.9995, f"{name} {kind} {frames} frames in bf16: cosine {alike:.5f}"
