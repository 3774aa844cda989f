"""Writes small TFLite networks: one subgraph, one input, one output, float32 arithmetic.

Called by the converters. Shapes are worked out while the graph is written, so an impossible graph fails here and
not in the runtime. The schema is the one that ships with ai-edge-litert; tflite-runtime has none.
Layouts: images [1, h, w, c]; convolution weights [out, kh, kw, in]; depthwise [1, kh, kw, c]; dense [out, in].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value inside the graph: its index and its shape."""

    index: int
    shape: tuple[int, ...]


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise ModelMismatch("model packs are built with ai-edge-litert, which is not installed; install it, or copy "
                            "a pack that another machine built") from None
    return schema_py_generated


class GraphWriter:
    """Collects operators in order of execution; `finish` gives the file's bytes.

    has_half_weights  convolution and dense weights are stored as float16 and widened by the runtime when it loads;
                      biases and slopes stay float32
    """

    def __init__(self, name: str, input_shape: tuple[int, ...], *, has_half_weights: bool = False) -> None:
        self._schema = _schema()
        self._name, self._has_half_weights = name, has_half_weights
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [self._schema.BufferT()]  # buffer 0 stays empty by convention of the format
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}
        self.input = self._tensor("input", input_shape)

    def conv(self, x: Tensor, weights: Floats, bias: Floats, *, stride: int = 1, padding: str = "SAME",
             is_relu: bool = False) -> Tensor:
        """CONV_2D; weights [out, kh, kw, in]."""
        out, height, width, channels = weights.shape
        _require(channels == x.shape[3] and bias.shape == (out,), "conv", x.shape, weights.shape)
        options = self._schema.Conv2DOptionsT()
        self._window(options, stride, padding, is_relu)
        shape = (1, *_reach(x.shape, (height, width), stride, padding), out)
        inputs = [x, self._weights(weights), self._constant(bias)]
        return self._emit("CONV_2D", inputs, shape, "Conv2DOptions", options)

    def depthwise(self, x: Tensor, weights: Floats, bias: Floats, *, stride: int = 1,
                  padding: str = "SAME") -> Tensor:
        """DEPTHWISE_CONV_2D; weights [1, kh, kw, c]."""
        _, height, width, channels = weights.shape
        _require(channels == x.shape[3] and bias.shape == (channels,), "depthwise", x.shape, weights.shape)
        options = self._schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        self._window(options, stride, padding, False)
        shape = (1, *_reach(x.shape, (height, width), stride, padding), channels)
        inputs = [x, self._weights(weights), self._constant(bias)]
        return self._emit("DEPTHWISE_CONV_2D", inputs, shape, "DepthwiseConv2DOptions", options)

    def dense(self, x: Tensor, weights: Floats) -> Tensor:
        """FULLY_CONNECTED without bias; weights [out, in]."""
        _require(x.shape[-1] == weights.shape[1], "dense", x.shape, weights.shape)
        options = self._schema.FullyConnectedOptionsT()
        none = Tensor(-1, ())
        return self._emit("FULLY_CONNECTED", [x, self._weights(weights), none], (1, weights.shape[0]),
                          "FullyConnectedOptions", options)

    def pool(self, x: Tensor, kind: str, size: int, stride: int) -> Tensor:
        """MAX_POOL_2D or AVERAGE_POOL_2D without padding; `kind` "max" or "average"."""
        options = self._schema.Pool2DOptionsT()
        options.filterWidth = options.filterHeight = size
        self._window(options, stride, "VALID", False)
        shape = (1, *_reach(x.shape, (size, size), stride, "VALID"), x.shape[3])
        return self._emit(f"{kind.upper()}_POOL_2D", [x], shape, "Pool2DOptions", options)

    def prelu(self, x: Tensor, slope: Floats) -> Tensor:
        """PRELU with one slope per channel."""
        _require(slope.shape == x.shape[3:], "prelu", x.shape, slope.shape)
        return self._emit("PRELU", [x, self._constant(slope.reshape(1, 1, -1))], x.shape)

    def add(self, x: Tensor, y: Tensor | Floats, *, is_relu: bool = False) -> Tensor:
        """ADD, broadcasting as numpy does."""
        return self._binary("ADD", "AddOptions", x, y, is_relu)

    def mul(self, x: Tensor, y: Tensor | Floats) -> Tensor:
        """MUL, broadcasting as numpy does."""
        return self._binary("MUL", "MulOptions", x, y, False)

    def maximum(self, x: Tensor, least: float) -> Tensor:
        """MAXIMUM with a constant."""
        constant = self._constant(np.asarray(least, np.float32))
        return self._emit("MAXIMUM", [x, constant], x.shape, "MaximumMinimumOptions",
                          self._schema.MaximumMinimumOptionsT())

    def square(self, x: Tensor) -> Tensor:
        return self._emit("SQUARE", [x], x.shape, "SquareOptions", self._schema.SquareOptionsT())

    def rsqrt(self, x: Tensor) -> Tensor:
        return self._emit("RSQRT", [x], x.shape)

    def sum_last(self, x: Tensor) -> Tensor:
        """SUM over the last axis, which stays with length 1."""
        options = self._schema.ReducerOptionsT()
        options.keepDims = True
        axis = self._constant(np.array([len(x.shape) - 1], np.int32))
        return self._emit("SUM", [x, axis], (*x.shape[:-1], 1), "ReducerOptions", options)

    def logistic(self, x: Tensor) -> Tensor:
        """LOGISTIC, the sigmoid of each value."""
        return self._emit("LOGISTIC", [x], x.shape)

    def softmax(self, x: Tensor) -> Tensor:
        """SOFTMAX over the last axis."""
        options = self._schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self._emit("SOFTMAX", [x], x.shape, "SoftmaxOptions", options)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        _require(math.prod(shape) == math.prod(x.shape), "reshape", x.shape, shape)
        options = self._schema.ReshapeOptionsT()
        options.newShape = list(shape)
        return self._emit("RESHAPE", [x, self._constant(np.array(shape, np.int32))], shape, "ReshapeOptions", options)

    def pad(self, x: Tensor, before_after: tuple[tuple[int, int], ...]) -> Tensor:
        """PAD with zeros; one (before, after) per axis."""
        shape = tuple(n + before + after for n, (before, after) in zip(x.shape, before_after, strict=True))
        return self._emit("PAD", [x, self._constant(np.array(before_after, np.int32))], shape, "PadOptions",
                          self._schema.PadOptionsT())

    def operator_counts(self) -> dict[str, int]:
        """How many operators of each kind the graph holds so far."""
        names = {value: key for key, value in vars(self._schema.BuiltinOperator).items() if isinstance(value, int)}
        codes = {index: code for code, index in self._codes.items()}
        counts: dict[str, int] = {}
        for operator in self._operators:
            name = names[codes[operator.opcodeIndex]]
            counts[name] = counts.get(name, 0) + 1
        return counts

    def finish(self, output: Tensor) -> bytes:
        """The TFLite file whose result is `output`."""
        import flatbuffers

        schema = self._schema
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = self._name, self._tensors, self._operators
        graph.inputs, graph.outputs = [self.input.index], [output.index]
        model = schema.ModelT()
        model.version, model.description = 3, self._name
        model.operatorCodes = [self._operator_code(code) for code in self._codes]
        model.subgraphs, model.buffers = [graph], self._buffers
        model.signatureDefs = [self._signature(output)]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _signature(self, output: Tensor) -> Any:
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs, signature.outputs = [], []
        for entries, name, tensor in ((signature.inputs, "input", self.input), (signature.outputs, "output", output)):
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name, tensor.index
            entries.append(entry)
        return signature

    def _operator_code(self, code: int) -> Any:
        entry = self._schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        return entry

    def _window(self, options: Any, stride: int, padding: str, is_relu: bool) -> None:
        options.padding = getattr(self._schema.Padding, padding)
        options.strideW = options.strideH = stride
        self._activate(options, is_relu)

    def _activate(self, options: Any, is_relu: bool) -> None:
        kinds = self._schema.ActivationFunctionType
        options.fusedActivationFunction = kinds.RELU if is_relu else kinds.NONE

    def _binary(self, kind: str, options_kind: str, x: Tensor, y: Tensor | Floats, is_relu: bool) -> Tensor:
        other = y if isinstance(y, Tensor) else self._constant(y)
        options = getattr(self._schema, options_kind + "T")()
        self._activate(options, is_relu)
        shape = tuple(int(n) for n in np.broadcast_shapes(x.shape, other.shape))
        return self._emit(kind, [x, other], shape, options_kind, options)

    def _weights(self, values: Floats) -> Tensor:
        if not self._has_half_weights:
            return self._constant(values)
        half = self._constant(values.astype(np.float16))
        return self._emit("DEQUANTIZE", [half], half.shape, "DequantizeOptions", self._schema.DequantizeOptionsT())

    def _constant(self, values: Array) -> Tensor:
        kinds = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32"}
        buffer = self._schema.BufferT()
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        buffer.data = np.frombuffer(little.tobytes(), np.uint8)
        self._buffers.append(buffer)
        kind = getattr(self._schema.TensorType, kinds[values.dtype.name])
        return self._tensor("constant", tuple(values.shape), kind, len(self._buffers) - 1)

    def _tensor(self, name: str, shape: tuple[int, ...], kind: int = 0, buffer: int = 0) -> Tensor:
        entry = self._schema.TensorT()
        # Names must be unique, or tools that look tensors up by name take the wrong one.
        entry.name = f"{name}_{len(self._tensors)}"
        entry.shape, entry.type, entry.buffer = list(shape), kind, buffer
        self._tensors.append(entry)
        return Tensor(len(self._tensors) - 1, shape)

    def _emit(self, kind: str, inputs: list[Tensor], shape: tuple[int, ...], options_kind: str = "NONE",
              options: Any = None) -> Tensor:
        code = getattr(self._schema.BuiltinOperator, kind)
        output = self._tensor(kind.lower(), shape)
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        operator.inputs, operator.outputs = [tensor.index for tensor in inputs], [output.index]
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, options_kind)
        operator.builtinOptions = options
        self._operators.append(operator)
        return output


def _reach(shape: tuple[int, ...], window: tuple[int, int], stride: int, padding: str) -> tuple[int, int]:
    if padding == "SAME":
        return -(-shape[1] // stride), -(-shape[2] // stride)
    return (shape[1] - window[0]) // stride + 1, (shape[2] - window[1]) // stride + 1


def _require(is_fitting: bool, kind: str, *shapes: tuple[int, ...]) -> None:
    if not is_fitting:
        raise ModelMismatch(f"the network's {kind} layer does not fit: {' against '.join(map(str, shapes))}")


def with_input(data: bytes, scale: tuple[float, ...], offset: tuple[float, ...], is_bgr: bool) -> bytes:
    """The TFLite file `data` with a 1×1 convolution in front, so that it takes RGB 0..255.

    What the network used to take is value·scale + offset per channel, blue first where `is_bgr`. Not for untrusted
    files in this process: the schema's reader believes every length.
    """
    import flatbuffers

    schema = _schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    graph = model.subgraphs[0]
    inner = graph.inputs[0]
    shape = [int(n) for n in graph.tensors[inner].shape]
    _require(len(graph.inputs) == 1 and len(shape) == 4 and shape[3] == 3, "input", tuple(shape))
    order = [2, 1, 0] if is_bgr else [0, 1, 2]
    weights = (np.eye(3)[order] * np.array(scale)[:, None]).astype(np.float32).reshape(3, 1, 1, 3)
    front = GraphWriter("front", tuple(shape))
    front.conv(front.input, weights, np.array(offset, np.float32), padding="VALID")
    first, buffers = len(graph.tensors), len(model.buffers)
    for tensor in front._tensors[:3]:
        tensor.buffer = tensor.buffer and tensor.buffer - 1 + buffers
        graph.tensors.append(tensor)
    model.buffers += front._buffers[1:]
    operator = front._operators[0]
    operator.opcodeIndex, operator.outputs = len(model.operatorCodes), [inner]
    operator.inputs = [first, first + 1, first + 2]
    model.operatorCodes.append(front._operator_code(schema.BuiltinOperator.CONV_2D))
    graph.operators.insert(0, operator)
    graph.inputs = [first]
    for entry in (entry for signature in model.signatureDefs or () for entry in signature.inputs or ()):
        entry.tensorIndex = first if entry.tensorIndex == inner else entry.tensorIndex
    builder = flatbuffers.Builder(len(data) + 4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
