"""Hypothesis strategies of pickles: nested and shared containers, tensors over shared storages, models with faults.

Every strategy draws bytes: opcodes that push one value. Pickles are written by hand, because Python's pickler writes no
hostile ones.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

NAMES = (
    "state_dict model config audio _modules _parameters _buffers upsample stride hop_length sampling_rate n_flows "
    "max_decoder_steps gate_threshold WN_config attention_norm embedding.weight convinv.0.conv.weight "
    "WN.0.start.weight decoder.attention_rnn.weight_ih decoder.attention_layer.v.weight "
    "generator train_setup generator_model_params upsample_rates resblock_dilation_sizes conv_pre.weight ups.0.weight "
    "decoder.stopnet.1.linear_layer.weight"
).split()
CLASSES = (
    b"ccollections\nOrderedDict\n",
    b"cbuiltins\nset\n",
    b"ctorch\nSize\n",
    b"ctorch\nfloat32\n",
    b"ctorch.nn.modules.conv\nConv1d\n",
    b"cglow\nWaveGlow\n",
    b"cargparse\nNamespace\n",
    b"ccopy_reg\n_reconstructor\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"cos\nsystem\n",
)
STORAGE_TYPES = ("Float", "Half", "Double", "BFloat16", "Long", "Byte", "Bool")


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return (b"\x8a" + bytes([len(data)]) if len(data) < 256 else b"\x8b" + struct.pack("<I", len(data))) + data


def integers(values: Any) -> bytes:
    return b"(" + b"".join(integer(value) for value in values) + b"t"


def mapping(entries: list[tuple[bytes, bytes]]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in entries) + b"u"


def tensor(key: str, numel: int, offset: int, size: Any, stride: Any, kind: str = "Float") -> bytes:
    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu") + integer(numel)
    call = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return call + storage + b"tQ" + integer(offset) + integers(size) + integers(stride) + b"\x89)tR"


NUMBERS = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**63, 10**400, -(10**400), 2**61 - 1, 10**4000]),
)
KEYS = st.sampled_from(("0", "1", "2", "missing"))
SIZES = st.one_of(st.lists(NUMBERS, max_size=4), st.integers(5, 5000).map(lambda count: [1] * count))


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    size = draw(SIZES)
    stride = draw(st.one_of(st.just([1] * len(size)), st.just([0] * len(size)), st.lists(NUMBERS, max_size=4)))
    kind = draw(st.sampled_from(STORAGE_TYPES))
    return tensor(draw(KEYS), draw(NUMBERS), draw(st.sampled_from((0, 0, 1, -1, 2**62))), size, stride, kind)


def _doubled(value: bytes, count: int, opcode: bytes, first: int) -> bytes:
    """Put the value into a pair with itself, `count` times: 2^count values in few bytes."""
    return value + b"".join(b"\x94h" + bytes([first + i]) + opcode for i in range(count))


SCALARS = st.one_of(
    st.sampled_from(NAMES).map(text),
    st.text(max_size=8).map(text),
    NUMBERS.map(integer),
    st.sampled_from([b"N", b"\x88", b")", b"]", b"}", b"\x8f", b"G\x7f\xf0\0\0\0\0\0\0", b"G\x7f\xf8\0\0\0\0\0\0"]),
    st.integers(0, 4).map(lambda index: b"h" + bytes([index])),
    st.sampled_from(CLASSES),
    tensors(),
)


def _containers(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    some = st.lists(values, max_size=5)
    joined = some.map(b"".join)
    pairs = st.lists(st.tuples(st.one_of(SCALARS, values), values), max_size=5)
    return st.one_of(
        joined.map(lambda items: b"(" + items + b"t"),
        joined.map(lambda items: b"](" + items + b"e\x94"),
        joined.map(lambda items: b"\x8f(" + items + b"\x90"),
        joined.map(lambda items: b"(" + items + b"\x91"),
        pairs.map(mapping),
        pairs.map(lambda entries: mapping(entries) + b"\x94"),
        st.tuples(values, st.integers(1, 60), st.sampled_from([b"\x86", b"\x85"]), st.integers(0, 3)).map(
            lambda drawn: _doubled(*drawn)
        ),
        st.tuples(st.sampled_from((b"\x85", b"]\x94a", b"\x8f\x94")), st.integers(1, 3000)).map(
            lambda drawn: b")" + drawn[0] * drawn[1]
        ),
        st.tuples(st.sampled_from(CLASSES), joined).map(lambda drawn: drawn[0] + b"(" + drawn[1] + b"tR"),
        st.tuples(st.sampled_from(CLASSES), values).map(lambda drawn: drawn[0] + b")\x81" + drawn[1] + b"b"),
        st.tuples(values, st.sampled_from((b"\x90.", b"a", b"b", b"R", b"s", b"Q"))).map(b"".join),
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=12)
"""Opcodes that push any value."""
PICKLES = VALUES.map(lambda value: b"\x80\x04" + value + b".")


@st.composite
def few_tensors(draw: st.DrawFn) -> bytes:
    """Draw a state dict with a few of a model's tensors, or a module with them and with modules of its own."""
    named = st.tuples(st.sampled_from(NAMES).map(text), st.one_of(tensors(), plain_tensors()))
    state = mapping(draw(st.lists(named, min_size=1, max_size=6)))
    if draw(st.booleans()):
        return mapping([(text("state_dict"), state), (text("config"), draw(VALUES))])
    module = CLASSES[5] + b")\x81\x94"
    modules = draw(st.lists(st.tuples(st.sampled_from(NAMES).map(text), st.just(b"h\0")), max_size=3))
    built = module + mapping([(text("_parameters"), state), (text("_modules"), mapping(modules))]) + b"b"
    return mapping([(text("model"), built)])


def plain_tensors() -> st.SearchStrategy[bytes]:
    shapes = st.lists(st.integers(0, 8), min_size=1, max_size=3)
    return shapes.map(lambda shape: tensor("1", 1024, 0, shape, [1] * len(shape)))


@st.composite
def models(draw: st.DrawFn, shapes: dict[str, list[int]], config: dict[str, Any], numel: int) -> bytes:
    """Draw a checkpoint of a model whose tensors all lie in storage "0" of `numel` elements, with a few faults."""
    faults = draw(st.lists(st.sampled_from(sorted(shapes)), max_size=3))
    entries = []
    for name, shape in shapes.items():
        stride = [1] * len(shape)
        for axis in reversed(range(len(shape) - 1)):
            stride[axis] = stride[axis + 1] * shape[axis + 1]
        entry = tensor("0", numel, 0, shape, stride)
        entries.append((text(name), draw(st.one_of(tensors(), VALUES)) if name in faults else entry))
    settings = [(text(key), integer(value)) for key, value in config.items() if isinstance(value, int)]
    settings += draw(
        st.lists(st.tuples(st.sampled_from(NAMES).map(text), st.one_of(NUMBERS.map(integer), VALUES)), max_size=3)
    )
    top = [(text("state_dict"), mapping(entries)), (text("config"), mapping(settings))]
    top += draw(st.lists(st.tuples(st.sampled_from(NAMES).map(text), VALUES), max_size=1))
    return b"\x80\x04" + mapping(top) + b"."
