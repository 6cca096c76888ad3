"""HiFi-GAN checkpoints with weights from a fixed seed, in the layout of every family.

The names are those of the families' own code. Weights come from NumPy's legacy generator, whose stream is frozen, so
that golden outputs need no stored weights.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Plan = dict[str, Any]
State = dict[str, Tensor]

_V1: Plan = {
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}
PLANS: dict[str, Plan] = {
    "v1": _V1,
    "v2": _V1 | {"upsample_initial_channel": 128},
    "v3": {
        "resblock": "2",
        "upsample_rates": [8, 8, 4],
        "upsample_kernel_sizes": [16, 16, 8],
        "upsample_initial_channel": 256,
        "resblock_kernel_sizes": [3, 5, 7],
        "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    },
    "odd": {
        "resblock": "2",
        "upsample_rates": [5, 3, 4],
        "upsample_kernel_sizes": [11, 7, 8],
        "upsample_initial_channel": 40,
        "resblock_kernel_sizes": [3, 9],
        "resblock_dilation_sizes": [[1, 4], [2, 3]],
    },
}
BANDS = 80
# A small generator of 256 samples per frame, for tests that run it often.
TINY: Plan = _V1 | {
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 32,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 2, 3], [1, 3, 2]],
}
AUDIO: Plan = {
    "num_mels": BANDS,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
}


def weights(plan: Plan, bands: int = BANDS, seed: int = 20201012) -> State:
    """The generator's state under jik876's names, with weight norm on.

    The scales keep activations near 1 through all layers, and samples within the linear part of tanh and beyond.
    """
    random = np.random.RandomState(seed)
    state: State = {}
    for name, shape, gain in _layers(plan, bands):
        rows = shape[0]
        bias = shape[1] if name.startswith("ups.") else rows
        state[f"{name}.bias"] = _tensor(0.1 * random.standard_normal(bias))
        state[f"{name}.weight_g"] = _tensor(gain * random.uniform(0.7, 1.3, (rows, 1, 1)))
        state[f"{name}.weight_v"] = _tensor(random.standard_normal(shape))
    return state


def _layers(plan: Plan, bands: int) -> Iterator[tuple[str, tuple[int, int, int], float]]:
    """(name, shape, gain) of every convolution."""
    width, kernels = plan["upsample_initial_channel"], plan["resblock_kernel_sizes"]
    yield "conv_pre", (width, bands, 7), 0.3
    for i, kernel in enumerate(plan["upsample_kernel_sizes"]):
        yield f"ups.{i}", (width, width // 2, kernel), 2.0
        width //= 2
        for j, (size, dilations) in enumerate(zip(kernels, plan["resblock_dilation_sizes"], strict=True)):
            for part in ("convs1", "convs2") if plan["resblock"] == "1" else ("convs",):
                for m in range(len(dilations)):
                    yield f"resblocks.{i * len(kernels) + j}.{part}.{m}", (width, width, size), 0.5
    yield "conv_post", (1, width, 7), 0.3


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def golden_mel(frames: int) -> Tensor:
    """Mel [1, M, F] with values like those of speech, -11.5 to 2."""
    return _tensor(np.random.RandomState(7).uniform(-11.5, 2.0, (1, BANDS, frames)))


def fold(state: State) -> State:
    """Plain weights g * v / |v|, as remove_weight_norm leaves them."""
    folded = {name: value for name, value in state.items() if name.endswith("bias")}
    for name, g in state.items():
        if name.endswith("weight_g"):
            v = state[name.removesuffix("g") + "v"].double()
            norm = v.flatten(1).norm(dim=1)[:, None, None]
            folded[name.removesuffix("_g")] = (v * g.double() / norm).float()
    return folded


def nested(state: State, per_stage: int) -> State:
    """Number residual blocks within their stage, as NVIDIA and NeMo do."""

    def number(match: re.Match[str]) -> str:
        stage, block = divmod(int(match[1]), per_stage)
        return f"resblocks.{stage}.{block}."

    return {re.sub(r"^resblocks\.(\d+)\.", number, name): value for name, value in state.items()}


Write = Callable[[Path, Plan, State], Path]


def jik876(folder: Path, plan: Plan, state: State) -> Path:
    (folder / "config.json").write_text(json.dumps(AUDIO | plan))
    torch.save({"generator": state}, folder / "g_02500000", _use_new_zipfile_serialization=False)
    return folder / "g_02500000"


def nvidia_content(plan: Plan, state: State, key: str = "generator") -> dict[str, Any]:
    setup = {"sampling_rate": 22050, "filter_length": 1024, "hop_length": 256, "win_length": 1024, "num_mels": 80}
    wrapped = {f"module.{name}": value for name, value in nested(state, len(plan["resblock_kernel_sizes"])).items()}
    return {
        "generator": None,
        "gen_ema": None,
        key: wrapped,
        "config": plan,
        "train_setup": setup | {"mel_fmin": 0.0, "mel_fmax": 8000.0, "max_wav_value": 32768.0},
        "train_state": {"epoch": 10, "iters_all": 1000},
    }


def nvidia(folder: Path, plan: Plan, state: State) -> Path:
    torch.save(nvidia_content(plan, state), folder / "hifigan_gen_checkpoint_10.pt")
    return folder / "hifigan_gen_checkpoint_10.pt"


def nvidia_ema_2d(folder: Path, plan: Plan, state: State) -> Path:
    """gen_ema alone, trained in two dimensions, with flat numbering."""
    content = nvidia_content(plan, state, "gen_ema")
    content["gen_ema"] = {k: v[..., None] if k.endswith("weight_v") else v for k, v in state.items()}
    torch.save(content, folder / "ema.pt")
    return folder / "ema.pt"


def nemo(folder: Path, plan: Plan, state: State) -> Path:
    """A .nemo file: the resblock is an integer, and the weights include a discriminator's."""
    config = {
        "target": "nemo.collections.tts.models.hifigan.HifiGanModel",
        "generator": {"_target_": "Generator", **plan, "resblock": int(plan["resblock"])},
        "preprocessor": {
            "sample_rate": 22050,
            "n_fft": 1024,
            "n_window_size": 1024,
            "n_window_stride": 256,
            "nfilt": 80,
            "lowfreq": 0,
            "highfreq": 8000,
        },
    }
    own = {f"generator.{k}": v for k, v in nested(state, len(plan["resblock_kernel_sizes"])).items()}
    others = {"mpd.discriminators.0.conv_post.bias": torch.zeros(1), "audio_to_melspec_precessor.fb": torch.zeros(2)}
    buffer = BytesIO()
    torch.save(own | others, buffer)
    with tarfile.open(folder / "voice.nemo", "w") as tar:
        for name, data in (
            ("./model_config.yaml", json.dumps(config).encode()),
            ("./model_weights.ckpt", buffer.getvalue()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    return folder / "voice.nemo"


def coqui_config(plan: Plan, **audio: Any) -> Plan:
    names = {"upsample_factors": "upsample_rates", "resblock_type": "resblock"}
    params = {key: plan[names.get(key, key)] for key in (*names, *(k for k in plan if k not in names.values()))}
    settings: Plan = {"sample_rate": 22050, "fft_size": 1024, "hop_length": 256, "win_length": 1024, "num_mels": 80}
    settings |= {"mel_fmin": 0.0, "mel_fmax": 8000.0, "signal_norm": False, "log_func": "np.log", "spec_gain": 1}
    return {"generator_model_params": params, "audio": settings | audio}


def coqui(folder: Path, plan: Plan, state: State) -> Path:
    """The form since late 2023, with parametrized weight norm."""
    (folder / "config.json").write_text(json.dumps(coqui_config(plan)))
    new = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    own = {f"model_g.{re.sub('weight_[gv]', lambda match: new[match[0]], k)}": v for k, v in state.items()}
    torch.save({"model": own | {"model_d.mpd.conv_post.bias": torch.zeros(1)}}, folder / "model_file.pth")
    return folder / "model_file.pth"


def coqui_old(folder: Path, plan: Plan, state: State) -> Path:
    (folder / "config.json").write_text(json.dumps(coqui_config(plan)))
    torch.save({"model": state, "model_disc": {"conv.bias": torch.zeros(1)}, "step": 5}, folder / "old.pth")
    return folder / "old.pth"


def speechbrain(folder: Path, plan: Plan, state: State) -> Path:
    """The form of its published hyperparams.yaml, with tags that its own loader executes."""
    fields = {**plan, "resblock_type": plan["resblock"], "upsample_factors": plan["upsample_rates"]}
    lines = [f"{key}: {json.dumps(fields[key])}" for key in fields if key not in ("resblock", "upsample_rates")]
    lines += ["sample_rate: 22050", "hop_length: 256", "n_fft: 1024", "win_length: 1024"]
    lines += ["mel_fmin: 0", "mel_fmax: 8000", "generator: !new:speechbrain.lobes.models.HifiGAN.HifiganGenerator"]
    lines += ["    in_channels: !ref <in_channels>", "modules:", "    generator: !ref <generator>"]
    (folder / "hyperparams.yaml").write_text("\n".join(lines))
    named = {re.sub(r"\.(?=[^.]+$)", ".conv.", name): value for name, value in state.items()}
    torch.save(named, folder / "generator.ckpt")
    return folder / "generator.ckpt"
