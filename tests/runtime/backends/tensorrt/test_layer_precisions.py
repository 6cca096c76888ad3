"""Compares the types that are propagated through a weakly typed network with those of a strongly typed one."""

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
from tacoglow.runtime.bundle.manifest import graph_names
from tacoglow.runtime.bundle.reading import load_manifest

GRAPH_NAMES = graph_names("waveglow")

if TYPE_CHECKING:
    from ....conftest import TinyCheckpoints


@pytest.fixture(scope="module")
def half_bundle(tiny_checkpoints: TinyCheckpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice in fp16."""
    folder = tmp_path_factory.mktemp("half") / "voice"
    tacotron2, waveglow = load_tacotron2(tiny_checkpoints.tacotron2), load_waveglow(tiny_checkpoints.waveglow)
    export_onnx(tacotron2, waveglow, folder, voice=read_voice_file(tiny_checkpoints.voice), precision="fp16")
    return folder


class WeakNetwork:
    """A parsed network as TensorRT 8 may report it: floating-point outputs are float32 except at converting layers."""

    def __init__(self, rtx: TensorRT, network: Any) -> None:
        self._rtx, self._network = rtx, network
        self.num_layers = network.num_layers

    def get_layer(self, i: int) -> Any:
        layer, member = self._network.get_layer(i), self._rtx.member
        converts = layer.type in {member("LayerType", name) for name in CONVERTING_LAYERS}
        half, full = member("DataType", "HALF"), member("DataType", "FLOAT")

        def reported(tensor: Any) -> Any:
            return tensor and SimpleNamespace(
                name=tensor.name, dtype=full if tensor.dtype == half and not converts else tensor.dtype
            )

        return SimpleNamespace(
            name=layer.name,
            type=layer.type,
            num_inputs=layer.num_inputs,
            num_outputs=layer.num_outputs,
            get_input=lambda i: reported(layer.get_input(i)),
            get_output=lambda i: reported(layer.get_output(i)),
            output_type_is_set=lambda i: converts,
            get_output_type=lambda i: layer.get_output(i).dtype,
            true_type=layer.get_output(0).dtype if layer.num_outputs else None,
        )


@pytest.mark.parametrize("graph", GRAPH_NAMES)
def test_types_equal_strong_typing(rtx: TensorRT, half_bundle: Path, graph: str) -> None:
    builder = EngineBuilder(rtx)
    network = WeakNetwork(rtx, builder.parse(half_bundle / load_manifest(half_bundle).graphs[graph].file))
    found = list(float_layers(rtx, network))
    assert len(found) > 10
    assert [(layer.name, dtype) for layer, dtype in found] == [(layer.name, layer.true_type) for layer, _ in found]
    is_half = {dtype == rtx.member("DataType", "HALF") for _, dtype in found}
    assert is_half == ({False} if graph == "denoiser" else {False, True})


def test_calls_for_tensorrt_8_6() -> None:
    """A cast to half, a product in half and a float32 sum, with the enum values of TensorRT 8.6's headers."""
    module: Any = ModuleType("tensorrt")
    module.DataType = SimpleNamespace(FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4)
    module.LayerType = SimpleNamespace(CONVOLUTION=0, CAST=1, ELEMENTWISE=5, SHAPE=17)
    module.BuilderFlag = SimpleNamespace(FP16=0, OBEY_PRECISION_CONSTRAINTS=12)
    layers: list[Any] = [
        OldLayer(1, "mel", "mel_half", set_type=1),
        OldLayer(0, "mel_half", "product"),
        OldLayer(1, "product", "product_float", set_type=0),
        OldLayer(5, "product_float", "sum"),
        SimpleNamespace(type=39, num_outputs=0, recorded=[]),  # an assertion
        OldLayer(17, "sum", "shape", dtype=3),
    ]
    network = SimpleNamespace(num_layers=len(layers), get_layer=lambda i: layers[i])
    recorded: list[tuple[object, ...]] = []
    config = SimpleNamespace(
        set_flag=lambda flag: recorded.append(("flag", flag)),
        set_preview_feature=lambda feature, on: recorded.append(("preview", feature, on)),
    )
    tensorrt = TensorRT("tensorrt", module)
    set_layer_precisions(tensorrt, network, config, "fp32")
    assert recorded == []
    assert not any(layer.recorded for layer in layers)
    set_layer_precisions(tensorrt, network, config, "fp16")
    assert recorded == [("flag", 0), ("flag", 12)]
    assert [layer.recorded for layer in layers] == [[], [1, (0, 1)], [], [0, (0, 0)], [], []]


def test_shared_profiles_are_requested_where_they_are_optional() -> None:
    module: Any = ModuleType("tensorrt")
    recorded: list[tuple[int, bool]] = []
    config = SimpleNamespace(set_preview_feature=lambda feature, on: recorded.append((feature, on)))
    TensorRT("tensorrt", module).request_shared_profiles(config)  # TensorRT 8.5 and 11 have no such feature
    assert recorded == []
    module.PreviewFeature = SimpleNamespace(PROFILE_SHARING_0806=2)
    TensorRT("tensorrt", module).request_shared_profiles(config)
    assert recorded == [(2, True)]


class OldLayer:
    """A layer with one input and one output; its type is float32 by default. Records the precisions that are set."""

    num_inputs = num_outputs = 1

    def __init__(self, kind: int, source: str, target: str, set_type: int | None = None, dtype: int = 0) -> None:
        self.type, self._set_type = kind, set_type
        self._input, self._output = SimpleNamespace(name=source, dtype=0), SimpleNamespace(name=target, dtype=dtype)
        self.recorded: list[object] = []

    def get_input(self, i: int) -> SimpleNamespace:
        return self._input

    def get_output(self, i: int) -> SimpleNamespace:
        return self._output

    def output_type_is_set(self, i: int) -> bool:
        return self._set_type is not None

    def get_output_type(self, i: int) -> int | None:
        return self._set_type

    def set_output_type(self, i: int, dtype: int) -> None:
        self.recorded.append((i, dtype))

    def __setattr__(self, name: str, value: object) -> None:
        if name == "precision":
            self.recorded.append(value)
        super().__setattr__(name, value)
