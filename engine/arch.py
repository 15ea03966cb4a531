"""The shape of an F5 model: the `model.arch` part of an upstream config.yaml, and the tensors that go with it."""

from dataclasses import dataclass

from engine.weights import Shape
from speech.audio import MEL_BANDS

TEXT_KERNEL, POSITION_KERNEL, POSITION_GROUPS = 7, 31, 16
HEAD_DIM = 64
TIME_FREQUENCIES = 256


@dataclass(frozen=True)
class Arch:
    dim: int
    depth: int
    heads: int
    ff_mult: int
    text_dim: int
    conv_layers: int
    text_mask_padding: bool = True
    text_embedding_average_upsampling: bool = False
    """Each token's embedding is repeated over its even share of the frames."""
    pe_attn_head: int | None = None
    """How many heads get rope; None: all."""
    qk_norm: str | None = None


def expected_shapes(arch: Arch, vocab_size: int) -> dict[str, Shape]:
    """Of every tensor that a Sampler reads, under upstream's names without `transformer.`."""
    dim, inner = arch.dim, arch.heads * HEAD_DIM
    shapes = _text_shapes(arch.text_dim, arch.conv_layers, vocab_size)
    shapes |= _linear("input_embed.proj", 2 * MEL_BANDS + arch.text_dim, dim)
    for layer in (0, 2):
        at = f"input_embed.conv_pos_embed.conv1d.{layer}."
        shapes |= {at + "weight": (dim, dim // POSITION_GROUPS, POSITION_KERNEL), at + "bias": (dim,)}
    shapes |= _linear("time_embed.time_mlp.0", TIME_FREQUENCIES, dim) | _linear("time_embed.time_mlp.2", dim, dim)
    for i in range(arch.depth):
        at = f"transformer_blocks.{i}."
        shapes |= _linear(at + "attn_norm.linear", dim, 6 * dim)
        for name in "qkv":
            shapes |= _linear(f"{at}attn.to_{name}", dim, inner)
        shapes |= _linear(at + "attn.to_out.0", inner, dim)
        shapes |= _linear(at + "ff.ff.0.0", dim, arch.ff_mult * dim) | _linear(at + "ff.ff.2", arch.ff_mult * dim, dim)
        if arch.qk_norm:
            shapes |= dict.fromkeys((at + "attn.q_norm.weight", at + "attn.k_norm.weight"), (HEAD_DIM,))
    return shapes | _linear("norm_out.linear", dim, 2 * dim) | _linear("proj_out", dim, MEL_BANDS)


def _text_shapes(dim: int, layers: int, vocab_size: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {"text_embed.text_embed.weight": (vocab_size + 1, dim)}  # the first row is the filler
    for i in range(layers):
        at = f"text_embed.text_blocks.{i}."
        shapes |= {at + "dwconv.weight": (dim, 1, TEXT_KERNEL), at + "dwconv.bias": (dim,)}
        shapes |= {at + "norm.weight": (dim,), at + "norm.bias": (dim,)}
        shapes |= {at + "grn.gamma": (1, 1, 2 * dim), at + "grn.beta": (1, 1, 2 * dim)}
        shapes |= _linear(at + "pwconv1", dim, 2 * dim) | _linear(at + "pwconv2", 2 * dim, dim)
    return shapes


def _linear(name: str, into: int, out: int) -> dict[str, Shape]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
