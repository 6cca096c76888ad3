"""What TensorRT 8.5 to 9 have to be told, and what is the rule since networks are strongly typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..manifest import Precision
from .tensorrt import TensorRT

# Layers that compute. The others move data, and take the type of what they move.
COMPUTING_LAYERS = (
    "ACTIVATION",
    "CONVOLUTION",
    "DECONVOLUTION",
    "ELEMENTWISE",
    "FULLY_CONNECTED",
    "MATRIX_MULTIPLY",
    "REDUCE",
    "SCALE",
    "SELECT",
    "SOFTMAX",
    "UNARY",
)
# Layers whose output has a type of its own, whatever goes in. An ONNX Cast is an identity before TensorRT 8.6.
CONVERTING_LAYERS = ("CAST", "CONSTANT", "IDENTITY")


def obey_types(tensorrt: TensorRT, network: Any, config: Any, precision: Precision) -> None:
    """Make each computing layer keep to its own type, which is only a suggestion without strong typing."""
    sharing = tensorrt.member("PreviewFeature", "PROFILE_SHARING_0806")
    if sharing is not None:  # contexts that share a profile
        config.set_preview_feature(sharing, True)
    if precision == "fp32":
        return
    flag = tensorrt.module.BuilderFlag
    config.set_flag(getattr(flag, precision.upper()))
    config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
    kinds = {tensorrt.member("LayerType", name) for name in COMPUTING_LAYERS} - {None}
    for layer, dtype in float_layers(tensorrt, network):
        if layer.type in kinds:
            layer.precision = dtype
            layer.set_output_type(0, dtype)


def float_layers(tensorrt: TensorRT, network: Any) -> Iterator[tuple[Any, Any]]:
    """The layers whose output is floating, each with the type that it has by the rules of strong typing.

    Types are followed through the network from its inputs, constants and casts on: before it is built, such a
    TensorRT may call any floating tensor a float32.
    """
    names = ("FLOAT", "HALF", "BF16")
    floats = [dtype for name in names if (dtype := tensorrt.member("DataType", name)) is not None]
    converting = {tensorrt.member("LayerType", name) for name in CONVERTING_LAYERS} - {None}
    known: dict[str, Any] = {}
    for layer in (network.get_layer(i) for i in range(network.num_layers)):
        if not layer.num_outputs:
            continue  # an assertion
        dtype = _own_type(layer)
        if layer.type not in converting and dtype in floats:
            inputs = [tensor for i in range(layer.num_inputs) if (tensor := layer.get_input(i)) is not None]
            types = [known.get(tensor.name, tensor.dtype) for tensor in inputs]
            dtype = next((one for one in types if one in floats), dtype)
        known |= {layer.get_output(i).name: dtype for i in range(layer.num_outputs)}
        if dtype in floats:
            yield layer, dtype


def _own_type(layer: Any) -> Any:
    return layer.get_output_type(0) if layer.output_type_is_set(0) else layer.get_output(0).dtype
