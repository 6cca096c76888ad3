"""Fetches NVIDIA's published checkpoints from its registry (NGC) into a cache folder.

The files are in the folder `checkpoints` of the user's cache: $XDG_CACHE_HOME/tacoglow or ~/.cache/tacoglow on Linux.
$TACOGLOW_NGC_URL can name a mirror of the registry, for machines behind a firewall.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from uuid import uuid4

from platformdirs import user_cache_path

from .checkpoint import read_checkpoint
from .errors import CheckpointError, DownloadError

ModelName = Literal["tacotron2", "waveglow", "hifigan"]
Precision = Literal["fp32", "fp16"]

NGC_URL = "https://api.ngc.nvidia.com"
TIMEOUT = 30.0  # seconds, to connect and for each read
BLOCK = 1 << 18  # bytes per read
LARGEST = 4 << 30  # bytes of an answer, far above a model with the state of its optimizer
_HIFIGAN = (
    "dle/hifigan__pyt_ckpt_mode-finetune_ds-ljs22khz/versions/21.08.0_amp/files/hifigan_gen_checkpoint_10000_ft.pt"
)
# The files that NVIDIA's torch.hub entry points fetch; the fp16 files were trained with mixed precision.
PUBLISHED = {
    ("tacotron2", "fp32"): "tacotron2_pyt_ckpt_fp32/versions/19.09.0/files/nvidia_tacotron2pyt_fp32_20190427",
    ("tacotron2", "fp16"): "tacotron2_pyt_ckpt_amp/versions/19.09.0/files/nvidia_tacotron2pyt_fp16_20190427",
    ("waveglow", "fp32"): "waveglow_ckpt_fp32/versions/19.09.0/files/nvidia_waveglowpyt_fp32_20190427",
    ("waveglow", "fp16"): "waveglow_ckpt_amp/versions/19.09.0/files/nvidia_waveglowpyt_fp16_20190427",
    # One file, trained with mixed precision and tuned to FastPitch's mels.
    ("hifigan", "fp32"): _HIFIGAN,
    ("hifigan", "fp16"): _HIFIGAN,
}


class UnverifiedDownloadWarning(UserWarning):
    """Warns that a download may not be NVIDIA's file: the SHA-256 of the published files are not known."""


def fetch_pretrained(
    model: ModelName,
    precision: Precision = "fp32",
    *,
    force: bool = False,
    base_url: str | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Return the path of a published checkpoint; download it unless it is in the cache.

    force: download it again. base_url: overrides the environment variable. cache: the folder; None: the user's cache.
    progress: show a bar on stderr. A download ends with an UnverifiedDownloadWarning that states the file's SHA-256.
    Raises DownloadError, which leaves the cached files unchanged, and ValueError for an unknown model or precision.
    """
    if (model, precision) not in PUBLISHED:
        known = ", ".join(" ".join(pair) for pair in PUBLISHED)
        raise ValueError(f"no published checkpoint {model!r} in {precision!r}; expected one of: {known}")
    url = published_url(model, precision, base_url)
    folder = user_cache_path("tacoglow", appauthor=False) if cache is None else Path(cache)
    path = folder / "checkpoints" / url.rsplit("/", 1)[1]
    if force or not path.is_file():
        _download(url, path, model, progress)
    return path


def published_url(model: ModelName, precision: Precision = "fp32", base_url: str | None = None) -> str:
    base = base_url or os.environ.get("TACOGLOW_NGC_URL") or NGC_URL
    return f"{base.rstrip('/')}/v2/models/nvidia/{PUBLISHED[model, precision]}"


def _download(url: str, path: Path, model: str, progress: bool) -> None:
    """Download to a temporary file, and rename it once it has been read as a checkpoint.

    The temporary name is unique, so that processes that fetch the same file at the same time do not interfere.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = _receive(url, part, progress)
        # _receive checks the length, but a proxy's login page is complete, and a chunked body states no length.
        read_checkpoint(part)
        part.replace(path)
    except CheckpointError as error:
        raise _error(url, f"the downloaded file is not a complete checkpoint ({error})", model) from error
    except HTTPError as error:
        raise _error(url, f"the server answered {error.code} {error.reason}", model) from error
    except URLError as error:
        raise _error(url, str(error.reason), model) from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a malformed URL
        raise _error(url, str(error) or type(error).__name__, model) from error
    finally:  # also after KeyboardInterrupt
        with suppress(OSError):
            part.unlink()
    warnings.warn(
        f"{path}: nothing shows that this is the file that NVIDIA published, because its SHA-256 is not known; "
        f"it came from {url} with SHA-256 {digest}",
        UnverifiedDownloadWarning,
        stacklevel=3,
    )


def _error(url: str, what: str, model: str) -> DownloadError:
    return DownloadError(f"{url}: {what}; download it by hand and pass --{model}")


def _receive(url: str, part: Path, progress: bool) -> str:
    """Write the answer to a file; returns its SHA-256."""
    digest = hashlib.sha256()
    with _open(url) as response, part.open("xb") as file:
        expected = response.length  # None if the server states no Content-Length
        with _progress_bar(progress, url.rsplit("/", 1)[1], expected) as advance:
            while block := response.read(BLOCK):
                file.write(block)
                digest.update(block)
                if file.tell() > LARGEST:
                    raise HTTPException(f"the answer is longer than {LARGEST >> 30} GiB, which no checkpoint is")
                advance(len(block))
        received = file.tell()
        if expected is not None and received != expected:
            raise HTTPException(f"incomplete download: expected {expected} bytes, got {received}")
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, but not from https to http, where anybody could replace the file."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("https", req.type):
            raise URLError(f"the server redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> HTTPResponse:
    if urlsplit(url).scheme not in ("http", "https"):  # urllib also opens file:, ftp: and data: URLs
        raise ValueError("only http and https URLs are supported")
    request = urllib.request.Request(url, headers={"User-Agent": "tacoglow"})
    response: HTTPResponse = urllib.request.build_opener(_SecureRedirects).open(request, timeout=TIMEOUT)
    return response


@contextmanager
def _progress_bar(is_shown: bool, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by a number of bytes."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), disable=not is_shown) as bar:
        task = bar.add_task(label, total=total)
        yield lambda size: bar.advance(task, size)
