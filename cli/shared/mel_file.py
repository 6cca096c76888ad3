"""Reads a mel spectrogram from a .npy or .pt file, for --vocoder-only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import RequestError


def read_mel(path: Path) -> NDArray[np.float32]:
    """Read a mel [M, F] or [1, M, F], as data and never as code; .pt files need PyTorch.

    Raises RequestError, naming the file, or CheckpointError for a damaged .pt file.
    """
    if not path.is_file():
        raise RequestError(f"{path}: no such file; --vocoder-only takes a mel spectrogram [bands, frames], .npy or .pt")
    mel = _read_pt(path) if path.suffix in (".pt", ".pth") else _read_npy(path)
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2 or not np.issubdtype(mel.dtype, np.floating):
        raise RequestError(f"{path}: expected floats [bands, frames], got {mel.dtype} {list(mel.shape)}")
    return mel.astype(np.float32)


def _read_npy(path: Path) -> NDArray[np.generic]:
    try:
        mel: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise RequestError(f"{path}: not a .npy file of numbers ({error})") from error
    if not isinstance(mel, np.ndarray):
        raise RequestError(f"{path}: expected one array, got an archive of several; save one with numpy.save")
    return mel


def _read_pt(path: Path) -> NDArray[np.generic]:
    from ...models.archives import open_archive, read_tensors
    from ...models.errors import CheckpointError
    from ...models.pickles import TensorRecord

    try:
        with open_archive(path) as archive:
            if not isinstance(archive.content, TensorRecord):
                found = type(archive.content).__name__
                raise RequestError(f"{path}: expected one tensor [bands, frames], got {found}; save the mel alone")
            mel: NDArray[np.generic] = read_tensors(archive, {"mel": archive.content})["mel"].float().numpy()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return mel
