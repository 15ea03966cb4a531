"""Upstream reads no vocoder but Vocos: one with the embedded vocoder's backbone, untrained, for what it costs."""

from pathlib import Path

import torch
import yaml

from tts_core import EMBEDDED_MODEL

BUILD = Path(__file__).parents[1] / "build" / "bench"
HEAD = {"n_fft": 1024, "hop_length": 256, "padding": "center"}


def folder() -> Path:
    """As `load_vocoder(is_local=True, …)` takes it; made once."""
    config = yaml.safe_load((EMBEDDED_MODEL / "vocoder" / "config.yaml").read_text())
    shape = config["backbone"]["init_args"]
    place = BUILD / f"vocos-{shape['dim']}-{shape['intermediate_dim']}-{shape['num_layers']}"
    if not (place / "config.yaml").exists():
        from vocos.feature_extractors import MelSpectrogramFeatures
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone
        from vocos.pretrained import Vocos

        whole = Vocos(MelSpectrogramFeatures(), VocosBackbone(**shape), ISTFTHead(dim=shape["dim"], **HEAD))
        place.mkdir(parents=True, exist_ok=True)
        torch.save(whole.state_dict(), place / "pytorch_model.bin")
        config["head"] = {"class_path": "vocos.heads.ISTFTHead", "init_args": {"dim": shape["dim"], **HEAD}}
        (place / "config.yaml").write_text(yaml.safe_dump(config))
    return place


if __name__ == "__main__":
    print(folder())
