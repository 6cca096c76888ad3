"""Fetches bundles from the Hugging Face Hub, or from a server that speaks its API ($HF_ENDPOINT). Extra: `hub`."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import msgspec

from ..errors import BundleError, one_line
from .manifest import Manifest
from .reading import MANIFEST_NAME, list_bundle_files, load_manifest

SCHEME = "hf://"
_SOURCE = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def is_on_hub(source: str) -> bool:
    return source.startswith(SCHEME)


def fetch_bundle(source: str) -> Path:
    """Fetch a bundle into the hub's cache unless it is there, and return its folder, which is named after the commit.

    source: hf://OWNER/VOICE[@REVISION], a commit, tag or branch; without one, the repository's main branch. A cached
    commit needs no network. TorchScript modules stay on the hub, because they are programs; the other files are checked
    against the manifest's SHA-256 when they are opened, as always. Raises BundleError.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise BundleError(f"{source}: expected hf://OWNER/VOICE or hf://OWNER/VOICE@REVISION")
    if find_spec("huggingface_hub") is None:
        raise BundleError(f"{source}: huggingface_hub is not installed; install it with: pip install 'tacoglow[hub]'")
    folder = _fetch(source, match["repository"], match["revision"], MANIFEST_NAME).parent
    for name in sorted(_data_files(load_manifest(folder)) - {MANIFEST_NAME}):
        _fetch(source, match["repository"], folder.name, name)
    return folder


def _data_files(manifest: Manifest) -> frozenset[str]:
    return list_bundle_files(msgspec.structs.replace(manifest, torchscript=None))


def _fetch(source: str, repository: str, revision: str | None, name: str) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # it is read at import
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(hf_hub_download(repository, name, revision=revision, library_name="tacoglow"))
    except RepositoryNotFoundError as error:
        raise BundleError(f"{source}: no such repository, or it is private: set HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise BundleError(f"{source}: the repository has no revision {revision!r}") from error
    except LocalEntryNotFoundError as error:  # the hub cannot be reached; also an EntryNotFoundError
        raise BundleError(f"{source}: {name}: {one_line(error)}") from error
    except EntryNotFoundError as error:
        raise BundleError(f"{source}: the repository has no {name}, so it is not a complete bundle") from error
    except Exception as error:  # those of the client, of its HTTP library and of its transfers share no base class
        raise BundleError(f"{source}: {name}: {one_line(error)}") from error
