"""All tolerances of the tests and their reasons. They are absolute, on values of order 1, unless stated otherwise.

The exporter's own tolerances, which decide whether a bundle is written, are in export/parity.py.
"""

from __future__ import annotations

# PyTorch modules against NVIDIA's code or torchaudio's, with the same weights, masks and noise: float32 through a
# recurrence of a few dozen steps. Measured: Tacotron 2 exactly 0 or 1e-6, WaveGlow 7e-7, denoiser 1.1e-6.
PUBLISHED = 1e-5

# HiFi-GAN against the published classes, and a window against the whole: float32 through some 80 convolutions.
# Measured: 1e-7 to 7e-7, and 1.03e-6 for V2 on a processor with AVX-512 and AMX.
HIFIGAN = 2e-6

# HiFi-GAN's graph against its module: other kernels, and transposed convolutions written as ordinary ones.
HIFIGAN_GRAPH = 1e-5

# A stream of a trained V1 with its whole receptive field against unstreamed speech: ONNX Runtime's kernels sum windows
# of another length in another order, in the postnet and in the generator. Measured: 1e-5; with 5 frames of context 0.4.
HIFIGAN_STREAM = 5e-5

# The same in float16: 11 bits of mantissa over values up to 4, through the recurrence.
PUBLISHED_HALF = 0.02

# A batch against its items alone, PyTorch modules in float64, where rounding is too small to hide a wrong mask.
BATCH_FLOAT64 = 1e-11

# Folded graph modules against the PyTorch modules, float32: folding changes the order of products and sums.
FOLDED = 2e-5

# A long mel through the vocoder in windows against the same in one call: a different order of float32 sums.
WINDOWS = 1e-5

# TorchScript against ONNX Runtime, float32: different kernels, and forty frames of a decoder that feeds on its output.
TORCHSCRIPT = 2e-4

# ONNX Runtime's aarch64 library under qemu-user against the one for x86-64, float32: different kernels, and some twenty
# frames of a decoder that feeds on its output; 1.8e-7 measured.
AARCH64 = 1e-5

# ONNX Runtime's DLL under Wine, float32, on the same processor: another compiler, and another library of mathematics.
WINDOWS_DLL = 1e-5

# A graph on a GPU against ONNX Runtime on the CPU, relative to the largest value: float32 without TensorFloat-32 in a
# different order of sums, and float16's 11 bits through a step, or through WaveGlow's flows. Not measured yet.
DEVICE = {"fp32": 1e-4, "fp16": 2e-2}

# The first twenty frames of mel on a GPU against the CPU: the same through a decoder that feeds on its own output.
DEVICE_MEL = {"fp32": 1e-2, "fp16": 0.5}

# The fused decoder's kernel over six steps of random weights. Against a model of its schedule, which rounds halves as
# the kernel does: one half may round the other way. Against float32: half precision's rounding.
FUSED_SCHEDULE = 2e-3
FUSED_FLOAT32 = 2e-2

# The kernel over 30 steps of the demo voice, against float32, of each output's norm: twice what half precision costs a
# voice whose weights are not exact in it (1.5e-4). Measured: 4e-5 to 1e-4.
FUSED_DEMO = 3e-4
# The states', which the loop amplifies more, in errors of the model that rounds as the kernel does.
FUSED_TIMES_ROUNDING = 2
