"""Types followed through a network without strong typing, against those of a network that has it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tacoglow.export import export_onnx
from tacoglow.export.voice import read_voice_file
from tacoglow.models import load_tacotron2, load_waveglow
from tacoglow.runtime.backends.tensorrt.builder import EngineBuilder
from tacoglow.runtime.backends.tensorrt.versions import CONVERTING_LAYERS, TensorRT, float_layers, set_layer_precisions
from tacoglow.runtime.bundle import load_manifest
from tacoglow.runtime.manifest import graph_names

GRAPH_NAMES = graph_names("waveglow")

if TYPE_CHECKING:
    from ...conftest import TinyCheckpoints


@pytest.fixture(scope="module")
def half_bundle(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice in fp16."""
    folder = tmp_path_factory.mktemp("half") / "voice"
    tacotron2, waveglow = load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow)
    export_onnx(tacotron2, waveglow, folder, voice=read_voice_file(tiny_checkpoints.voice), precision="fp16")
    return folder


class WeakNetwork:
    """A parsed network as TensorRT 8 may show it: floating outputs are float32 except where something converts."""

    def __init__(self, rtx: TensorRT, network: Any) -> None:
        self._rtx, self._network = rtx, network
        self.num_layers = network.num_layers

    def get_layer(self, i: int) -> Any:
        layer, member = self._network.get_layer(i), self._rtx.member
        converts = layer.type in {member("LayerType", name) for name in CONVERTING_LAYERS}
        half, full = member("DataType", "HALF"), member("DataType", "FLOAT")

        def shown(tensor: Any) -> Any:
            return tensor and SimpleNamespace(
                name=tensor.name, dtype=full if tensor.dtype == half and not converts else tensor.dtype
            )

        return SimpleNamespace(
            name=layer.name,
            type=layer.type,
            num_inputs=layer.num_inputs,
            num_outputs=layer.num_outputs,
            get_input=lambda i: shown(layer.get_input(i)),
            get_output=lambda i: shown(layer.get_output(i)),
            output_type_is_set=lambda i: converts,
            get_output_type=lambda i: layer.get_output(i).dtype,
            true_type=layer.get_output(0).dtype if layer.num_outputs else None,
        )


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_types_are_those_of_strong_typing(rtx: TensorRT, half_bundle: Path, graph: str) -> None:
    builder = EngineBuilder(rtx)
    network = WeakNetwork(rtx, builder.parse(half_bundle / load_manifest(half_bundle).graphs[graph].file))
    found = list(float_layers(rtx, network))
    assert len(found) > 10
    assert [(layer.name, dtype) for layer, dtype in found] == [(layer.name, layer.true_type) for layer, _ in found]
    is_half = {dtype == rtx.member("DataType", "HALF") for _, dtype in found}
    assert is_half == ({False} if graph == "denoiser" else {False, True})


def test_what_an_older_tensorrt_is_told() -> None:
    """By the names and numbers of TensorRT 8.6's headers: a cast to half, a product in half, a float32 sum."""
    module: Any = ModuleType("tensorrt")
    module.DataType = SimpleNamespace(FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4)
    module.LayerType = SimpleNamespace(CONVOLUTION=0, CAST=1, ELEMENTWISE=5, SHAPE=17)
    module.BuilderFlag = SimpleNamespace(FP16=0, OBEY_PRECISION_CONSTRAINTS=12)
    module.PreviewFeature = SimpleNamespace(PROFILE_SHARING_0806=2)
    layers: list[Any] = [
        OldLayer(1, "mel", "mel_half", set_type=1),
        OldLayer(0, "mel_half", "product"),
        OldLayer(1, "product", "product_float", set_type=0),
        OldLayer(5, "product_float", "sum"),
        SimpleNamespace(type=39, num_outputs=0, told=[]),  # an assertion
        OldLayer(17, "sum", "shape", dtype=3),
    ]
    network = SimpleNamespace(num_layers=len(layers), get_layer=lambda i: layers[i])
    told: list[tuple[object, ...]] = []
    config = SimpleNamespace(
        set_flag=lambda flag: told.append(("flag", flag)),
        set_preview_feature=lambda feature, on: told.append(("preview", feature, on)),
    )
    set_layer_precisions(TensorRT("tensorrt", module), network, config, "fp32")
    assert told == [("preview", 2, True)]
    assert not any(layer.told for layer in layers)
    told.clear()
    set_layer_precisions(TensorRT("tensorrt", module), network, config, "fp16")
    assert told == [("preview", 2, True), ("flag", 0), ("flag", 12)]
    assert [layer.told for layer in layers] == [[], [1, (0, 1)], [], [0, (0, 0)], [], []]


class OldLayer:
    """A layer of one input and one output, whose type is float32 if nothing else is set."""

    num_inputs = num_outputs = 1

    def __init__(self, kind: int, given: str, made: str, set_type: int | None = None, dtype: int = 0) -> None:
        self.type, self._set_type = kind, set_type
        self._given, self._made = SimpleNamespace(name=given, dtype=0), SimpleNamespace(name=made, dtype=dtype)
        self.told: list[object] = []

    def get_input(self, i: int) -> SimpleNamespace:
        return self._given

    def get_output(self, i: int) -> SimpleNamespace:
        return self._made

    def output_type_is_set(self, i: int) -> bool:
        return self._set_type is not None

    def get_output_type(self, i: int) -> int | None:
        return self._set_type

    def set_output_type(self, i: int, dtype: int) -> None:
        self.told.append((i, dtype))

    def __setattr__(self, name: str, value: object) -> None:
        if name == "precision":
            self.told.append(value)
        super().__setattr__(name, value)
