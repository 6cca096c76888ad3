"""Writes hifigan.npz: what HiFi-GAN generators of the published classes make of a mel.

    python tests/golden/make_hifigan.py path/to/hifi-gan path/to/DeepLearningExamples/PyTorch/SpeechSynthesis/HiFiGAN

Weights and mel come from a fixed seed (tests/models/hifigan_layouts.py), in jik876's V1, V2, V3 and a plan of odd
rates; only the samples are stored, as AUTHOR/PLAN. NVIDIA's class for ResBlock2 does not run, so it has V1 and V2.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tacoglow.tests.models.hifigan_layouts import PLANS, golden_mel, nested, weights

FRAMES = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jik876", type=Path)
    parser.add_argument("nvidia", type=Path)
    args = parser.parse_args()
    arrays = {f"jik876/{name}": samples(_jik876(args.jik876, name), name) for name in PLANS}
    arrays |= {f"nvidia/{name}": samples(_nvidia(args.nvidia, name), name) for name in ("v1", "v2")}
    np.savez_compressed(Path(__file__).with_name("hifigan.npz"), **arrays)


@torch.no_grad()
def samples(model: Any, name: str) -> Any:
    return model.eval()(golden_mel(FRAMES)).numpy()[0, 0]


def _jik876(checkout: Path, name: str) -> Any:
    models = _load(checkout / "models.py", {"utils": _helpers()})
    model = models.Generator(types.SimpleNamespace(**PLANS[name]))
    model.load_state_dict(weights(PLANS[name]))
    return model


def _nvidia(checkout: Path, name: str) -> Any:
    stft = types.ModuleType("common.stft")
    stft.STFT = None  # type: ignore[attr-defined]  # of its denoiser, which is not used
    utils = _helpers()
    utils.AttrDict = lambda values: types.SimpleNamespace(**values)  # type: ignore[attr-defined]
    common = types.ModuleType("common")
    common.filter_warnings = None  # type: ignore[attr-defined]
    models = _load(checkout / "hifigan" / "models.py", {"common": common, "common.stft": stft, "common.utils": utils})
    model = models.Generator(PLANS[name])
    model.load_state_dict(nested(weights(PLANS[name]), len(PLANS[name]["resblock_kernel_sizes"])))
    return model


def _helpers() -> types.ModuleType:
    """The two functions of the published utils.py that the classes use, without its plots."""
    helpers = types.ModuleType("utils")
    helpers.init_weights = lambda module: None  # type: ignore[attr-defined]  # all weights are loaded
    helpers.get_padding = lambda kernel, dilation=1: (kernel * dilation - dilation) // 2  # type: ignore[attr-defined]
    return helpers


def _load(path: Path, needed: dict[str, types.ModuleType]) -> Any:
    sys.modules.update(needed)
    module = types.ModuleType("published")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


if __name__ == "__main__":
    main()
