"""The only file that knows the TFLite runtime: LiteRT by default, tflite-runtime where that is what there is.

Called by the stages of `face` and by `packs` for self-tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch


def _interpreter_class() -> tuple[Any, str]:
    # LiteRT first: tflite-runtime imports happily beside numpy 2 and fails only when a network is built.
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter, "ai-edge-litert"
    except ImportError:
        pass
    try:
        from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found,no-redef,unused-ignore]

        return Interpreter, "tflite-runtime"
    except ImportError:
        raise ModelMismatch("no inference runtime: install ai-edge-litert (or the extra legacy-tflite)") from None


def runtime_name() -> str:
    """Which runtime this installation uses."""
    return _interpreter_class()[1]


class Network:
    """One loaded network with a fixed input shape, called on one thread at a time.

    `run` copies the input in and gives views of the outputs that stay valid until the next `run`.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        interpreter_class, _ = _interpreter_class()
        try:
            self._interpreter = interpreter_class(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError, OSError) as error:
            reason = str(error).splitlines()[0][:120]
            raise ModelMismatch(f"{path.name} cannot be loaded ({reason}); rebuild the pack with "
                                "`doorctl models build`") from None
        inputs = self._interpreter.get_input_details()
        self._input = int(inputs[0]["index"])
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in inputs[0]["shape"])
        outputs = self._interpreter.get_output_details()
        self._outputs = [int(detail["index"]) for detail in outputs]
        self.output_shapes: list[tuple[int, ...]] = [tuple(int(n) for n in detail["shape"]) for detail in outputs]

    def run(self, values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Outputs for one input of `input_shape` (float32)."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]
