"""The only file that knows the TFLite runtime: LiteRT by default, tflite-runtime where that is what there is.

Called by the stages of `face` and by `packs` for self-tests.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps the runtime's announcements off stderr; what else is written there meanwhile is written afterwards.

    The runtime writes them from C++ to file descriptor 2 and offers no setting against it. Only the first network of
    a process announces anything, so only then is the descriptor exchanged.
    """
    if _announced:
        yield
        return
    _announced.append(True)
    try:
        real = os.dup(2)
    except OSError:  # a daemon without stderr
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            caught.seek(0)
            os.write(real, b"".join(line for line in caught if not line.startswith(b"INFO: ")))
            os.close(real)


_announced: list[bool] = []


class Network:
    """One loaded network with a fixed input shape, called on one thread at a time.

    `run` copies the input in and gives copies of the outputs, in the order of the file.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        interpreter_class, _ = _interpreter_class()
        try:
            with _without_chatter():
                self._interpreter = interpreter_class(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError, OSError) as error:
            reason = str(error).splitlines()[0][:120]
            raise ModelMismatch(f"{path.name} cannot be loaded ({reason}); rebuild the pack with "
                                "`doorctl models build`") from None
        inputs = self._interpreter.get_input_details()
        if len(inputs) != 1 or inputs[0]["dtype"] is not np.float32:
            raise ModelMismatch(f"{path.name} does not take one float32 picture, but {len(inputs)} inputs of "
                                f"{inputs[0]['dtype'].__name__}; it is not a network that this terminal can run")
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
