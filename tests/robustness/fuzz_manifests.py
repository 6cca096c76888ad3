"""Target: bundles whose manifest is changed and sealed again with a correct digest."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from tacoglow.runtime.bundle.reading import MANIFEST_NAME, with_digest
from tacoglow.tests.robustness.fuzzed_bundle import changed_bundle, speak, tiny_bundle
from tacoglow.tests.robustness.pickle_strategies import NUMBERS

ORIGINAL: dict[str, Any] = json.loads((tiny_bundle() / MANIFEST_NAME).read_bytes())
Path = tuple[str | int, ...]


def _paths(value: Any, path: Path = ()) -> list[Path]:
    """The paths of all values in a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, entry in entries for place in ((*path, key), *_paths(entry, (*path, key)))]


SMALL = st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), st.text(max_size=5))
NEARBY = st.sampled_from(
    [
        0,
        1,
        2,
        3,
        7,
        8,
        12,
        40,
        41,
        255,
        256,
        257,
        10**6,
        2**31 - 1,
        2**31,
        0.5,
        1e-300,
        1e300,
        "B",
        "T*2",
        "float32",
        "x",
    ]
)
VALUES = st.one_of(SMALL, NEARBY, NEARBY, st.lists(SMALL, max_size=3), st.dictionaries(st.text(max_size=5), SMALL))
PATHS = _paths(ORIGINAL)
# How a value is changed: replaced, removed, repeated under the same key, or swapped with another one.
CHANGES = st.one_of(
    st.tuples(st.just("replace"), st.sampled_from(PATHS), VALUES),
    st.tuples(st.just("remove"), st.sampled_from(PATHS), st.none()),
    st.tuples(st.just("swap"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
)
TEXTS = st.sampled_from([b"", b"[" * 2000, b"{" * 100_000, b'{"a":' * 5000, b"\xff" * 9, b"9" * 400, b"null"])
CASES = st.one_of(*[st.lists(CHANGES, min_size=1, max_size=3)] * 9, TEXTS)


def _get(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def _apply(document: Any, change: str, path: Path, value: Any) -> None:
    parent = _get(document, path[:-1])
    if change == "remove":
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(_get(document, value)) if change == "swap" else value


def try_one(case: Any) -> None:
    """Load the bundle and speak: it works, or is rejected in one line."""
    content = case
    if not isinstance(case, bytes):
        document = copy.deepcopy(ORIGINAL)
        for change in case:
            try:
                _apply(document, *change)
            except (LookupError, TypeError):
                continue  # an earlier change has removed what this one changes
        content = with_digest(json.dumps(document).encode())
    bundle = changed_bundle()
    (bundle / MANIFEST_NAME).write_bytes(content)
    speak(bundle)
