"""What a solver step reads and moves on, of one chunk or of several in one forward. Tensors, no weights."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from engine.arch import POSITION_KERNEL
from engine.device import round_up_frames
from engine.stepping import to_device

Tables = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""A solver step's dt, AdaLN vectors and last norm's: see StepInputs."""

JOINED_ROWS = 8
"""Chunks in one forward at most: flash attention is asked for so many rows, of which some may be empty."""
JOINED_BUCKET = 512
"""Their frames together are rounded up to a multiple: each sum has a CUDA graph of its own."""


class StepInputs(NamedTuple):
    """What a solver step reads, and the state that it moves on. Tensors only: so a CUDA graph can be made of a step."""

    x: torch.Tensor  # (padded, 100) float32, the state
    conditions: torch.Tensor  # (1 or 2, padded, dim): with text and reference, and without
    frame_mask: torch.Tensor  # (padded,): 1 for each frame that is there, else 0
    attn_bias: torch.Tensor  # (1, 1, 1, padded): 0 or minus infinity, added to attention's scores
    starts: torch.Tensor  # instead, for packed attention: (rows + 1,) int32, each row's first frame among all passes'
    lengths: torch.Tensor  # (rows,) int32, each row's frames that are there; a row a pass, or more of joined chunks
    cos: torch.Tensor  # (padded, HEAD_DIM / 2), of rope's angles
    sin: torch.Tensor
    guidance: torch.Tensor  # (), or (padded, 1) of joined chunks
    dt: torch.Tensor  # ()
    adaln: torch.Tensor  # (depth, 6, dim)
    last_adaln: torch.Tensor  # (2, dim): scale and shift


def room(frames: int) -> int:
    """What a chunk takes among joined ones: behind it the position convolutions find silence, as at an end. A frame
    more than their reach, so that their products, of whole bands, read no other chunk (cuda_half.py)."""
    return round_up_frames(frames + POSITION_KERNEL // 2 + 1)


def joined(chunks: Sequence[StepInputs], frames: Sequence[int]) -> tuple[StepInputs, list[int]]:
    """Chunks one behind another as if they were one, and where each begins; attention alone keeps them apart (packed,
    as flash attention's variable lengths are). At most JOINED_ROWS, all of one or all of two passes."""
    rooms = [room(count) for count in frames]
    begins = [sum(rooms[:i]) for i in range(len(rooms))]
    used, passes, place = sum(rooms), len(chunks[0].conditions), chunks[0].x.device
    padded = math.ceil(used / JOINED_BUCKET) * JOINED_BUCKET

    def laid(parts: list[torch.Tensor]) -> torch.Tensor:
        """(…, frames, width) each: along the frames, zeros between them."""
        whole = parts[0].new_zeros(*parts[0].shape[:-2], padded, parts[0].shape[-1])
        for part, begin, size in zip(parts, begins, rooms, strict=True):
            count = min(size, part.shape[-2])
            whole[..., begin : begin + count, :] = part[..., :count, :]
        return whole

    # What is left is a row too: attention would leave its frames unwritten, and they might be no numbers.
    empty = JOINED_ROWS - len(chunks)
    pass_starts = [*begins, *[used] * (empty + 1)]
    pass_lengths = [*frames, *[0] * empty, padded - used]
    starts = [number * padded + start for number in range(passes) for start in pass_starts] + [passes * padded]
    both = to_device(torch.tensor([*starts, *pass_lengths * passes], dtype=torch.int32), place)
    guidance = [chunk.guidance.expand(size, 1) for chunk, size in zip(chunks, rooms, strict=True)]
    whole = chunks[0]._replace(
        x=laid([chunk.x for chunk in chunks]),
        conditions=laid([chunk.conditions for chunk in chunks]),
        frame_mask=laid([chunk.frame_mask[:, None] for chunk in chunks])[:, 0].contiguous(),
        starts=both[: len(starts)],
        lengths=both[len(starts) :],
        cos=laid([chunk.cos for chunk in chunks]),
        sin=laid([chunk.sin for chunk in chunks]),
        guidance=laid(guidance),
    )
    return whole, begins
