"""A kept checkpoint: small, near enough to go on from, and never written over a newer one."""

from pathlib import Path

import pytest
import torch

from train import keep, loop


def test_kept_weights_come_back_within_a_128th_of_their_rows_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "KEPT", tmp_path / "kept")
    weights = {"a.weight": torch.randn(64, 32), "a.bias": torch.randn(64), "conv.weight": torch.randn(16, 8, 7)}
    trained = {"model": weights, "ema": weights, "optims": [], "beside": {"critics": weights}}
    torch.save(trained | {"step": 7, "elapsed": 1.5, "log": []}, tmp_path / "flow.pt")
    keep.save("flow", tmp_path)
    with pytest.raises(SystemExit, match="there already"):
        keep.restore("flow", tmp_path)
    keep.restore("flow", tmp_path / "elsewhere")
    found = torch.load(tmp_path / "elsewhere" / "flow.pt", weights_only=False)
    assert (found["step"], found["elapsed"]) == (7, 1.5)
    for name, weight in weights.items():
        largest = weight.flatten(1).abs().amax(dim=1) if weight.ndim > 1 else weight.abs()
        off = (found["ema"][name] - weight).abs().flatten(1).amax(dim=1) if weight.ndim > 1 else None
        assert off is None or bool((off <= largest / 128).all()), name


def test_training_goes_on_from_a_kept_checkpoint_with_a_fresh_optimizer(tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 1)
    weights = {name: torch.ones_like(w) for name, w in model.state_dict().items()}
    torch.save({"model": weights, "ema": weights, "step": 3, "elapsed": 0.0, "log": []}, tmp_path / "m.pt")

    def loss(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
        squares: torch.Tensor = (model(*batch) - 5).square()
        return squares.mean()

    what = loop.Trained("m", tmp_path / "m.pt", model, [torch.optim.SGD(model.parameters(), 1e-2)])
    losses = loop.run(what, lambda draw: (torch.ones(2, 4),), loss, 1, 1e-2, 1, 5)
    assert len(losses) == 2 and losses[0] == 0.0, "two steps are left of five, from all ones: 4 + 1 = 5"
