"""The liveness networks MiniFASNetV2 and MiniFASNetV1SE as TFLite, from upstream's .pth files.

Input [1, 80, 80, 3] BGR 0..255: upstream does not divide by 255. Output [1, 3], softmax; class 1 is a live face.
Every batch normalisation is folded into the convolution before it, in float64, so that only the result is rounded.
torch pads a convolution of stride 2 on both sides and TFLite's SAME only at the bottom and right: hence PAD + VALID.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch
from device.packs.flatbuffer import GraphWriter, Tensor
from device.packs.torch_pth import read_state

SIZE = 80
CLASSES = 3

_EPSILON = 1e-5  # torch's default of a batch normalisation
_STAGES = (("conv_23", "conv_3", 4), ("conv_34", "conv_4", 6), ("conv_45", "conv_5", 2))

Doubles = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Weights:
    """The state by name; each entry is taken once, and none may be left."""

    state: dict[str, Doubles]

    def take(self, name: str) -> Doubles:
        if name not in self.state:
            raise ModelMismatch(f"not a MiniFASNet: there is no {name}")
        return self.state.pop(name)

    def folded(self, convolution: str, norm: str) -> tuple[Doubles, Doubles]:
        """Weights [out, kh, kw, in] and bias of a convolution (or dense layer) and the normalisation after it."""
        weights = self.take(f"{convolution}.weight")
        scale, offset = self.take(f"{norm}.weight"), self.take(f"{norm}.bias")
        mean, variance = self.take(f"{norm}.running_mean"), self.take(f"{norm}.running_var")
        self.take(f"{norm}.num_batches_tracked")
        sizes = {values.shape for values in (scale, offset, mean, variance)}
        if weights.ndim not in (2, 4) or sizes != {(len(weights),)} or variance.min() < 0:
            raise ModelMismatch(f"not a MiniFASNet: {convolution} and {norm} do not belong together")
        factor = scale / np.sqrt(variance + _EPSILON)
        weights = weights.reshape(*weights.shape, *[1] * (4 - weights.ndim))
        return (weights * factor[:, None, None, None]).transpose(0, 2, 3, 1), offset - mean * factor


def convert(data: bytes, has_attention: bool) -> bytes:
    """The network as a TFLite file; `has_attention` for V1SE. ModelMismatch where `data` is not that network."""
    state = read_state(data)
    plain = {name.removeprefix("module."): values.astype(np.float64) for name, values in state.items()}
    return _Converter(_Weights(plain), has_attention).run()


class _Converter:
    """Writes the network from its input on; the widths are those of the weights."""

    def __init__(self, weights: _Weights, has_attention: bool) -> None:
        self._weights, self._has_attention = weights, has_attention
        self._writer = GraphWriter("minifasnet_v1se" if has_attention else "minifasnet_v2", (1, SIZE, SIZE, 3))

    def run(self) -> bytes:
        x = self._block(self._writer.input, "conv1", stride=2)
        x = self._block(x, "conv2_dw")
        for entrance, stage, count in _STAGES:
            x = self._unit(x, entrance, stride=2)
            for index in range(count):
                has_attention = self._has_attention and index == count - 1
                branch = self._unit(x, f"{stage}.model.{index}", has_attention=has_attention)
                x = self._writer.add(x, branch)
        x = self._block(x, "conv_6_sep")
        x = self._conv(x, *self._weights.folded("conv_6_dw.conv", "conv_6_dw.bn"), padding="VALID")
        x = self._conv(x, *self._weights.folded("linear", "bn"))
        last = self._weights.take("prob.weight")
        x = self._conv(x, last.reshape(len(last), 1, 1, -1), np.zeros(len(last)))
        if self._weights.state or x.shape != (1, 1, 1, CLASSES):
            raise ModelMismatch(f"not a MiniFASNet: it gives {x.shape}, {len(self._weights.state)} weights are left")
        return self._writer.finish(self._writer.softmax(self._writer.reshape(x, (1, CLASSES))))

    def _unit(self, x: Tensor, name: str, *, stride: int = 1, has_attention: bool = False) -> Tensor:
        x = self._block(x, f"{name}.conv")
        x = self._block(x, f"{name}.conv_dw", stride=stride)
        x = self._conv(x, *self._weights.folded(f"{name}.project.conv", f"{name}.project.bn"))
        return self._attention(x, f"{name}.se_module") if has_attention else x

    def _block(self, x: Tensor, name: str, *, stride: int = 1) -> Tensor:
        """Convolution, normalisation, PReLU."""
        x = self._conv(x, *self._weights.folded(f"{name}.conv", f"{name}.bn"), stride=stride)
        return self._writer.prelu(x, self._weights.take(f"{name}.prelu.weight").astype(np.float32))

    def _attention(self, x: Tensor, name: str) -> Tensor:
        """Squeeze and excitation: each channel times a factor made of all channels' means."""
        y = self._writer.pool(x, "average", x.shape[1], 1)
        y = self._conv(y, *self._weights.folded(f"{name}.fc1", f"{name}.bn1"), is_relu=True)
        y = self._conv(y, *self._weights.folded(f"{name}.fc2", f"{name}.bn2"))
        return self._writer.mul(x, self._writer.logistic(y))

    def _conv(self, x: Tensor, weights: Doubles, bias: Doubles, *, stride: int = 1, padding: str = "SAME",
              is_relu: bool = False) -> Tensor:
        """A depthwise convolution where there is one weight per channel and place, else an ordinary one."""
        if stride == 2:
            x, padding = self._writer.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), "VALID"
        values, offsets = weights.astype(np.float32), bias.astype(np.float32)
        if weights.shape[3] == 1 and weights.shape[0] == x.shape[3]:
            return self._writer.depthwise(x, values.transpose(3, 1, 2, 0), offsets, stride=stride, padding=padding)
        return self._writer.conv(x, values, offsets, stride=stride, padding=padding, is_relu=is_relu)
