import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock
from device.errors import ConfigError
from device.face import kernels

INSTALLED = kernels.installed()


def scanned(kernel, rows, probe):
    out = np.full(len(rows), np.nan, np.float32)
    kernel.scan(rows, probe, out)
    return out


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.integers(1, 80), st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 127]))
def test_all_kernels_give_the_same_exact_sums(dimensions, count, seed, size):
    # numba would compile anew for each size, for half a second each.
    quick = [kernel for kernel in INSTALLED if kernel.name != "numba"]
    rng = np.random.default_rng(seed)
    rows = rng.integers(-size - 1, size, (count, dimensions), dtype=np.int8, endpoint=True)
    probe = rng.integers(-size, size, dimensions, dtype=np.int8, endpoint=True)
    exact = rows.astype(np.int64) @ probe.astype(np.int64)
    for kernel in quick:
        assert np.array_equal(scanned(kernel, rows, probe), exact), kernel.name


@pytest.mark.parametrize("dimensions", [1, 128, 192, 512, 1024])
@pytest.mark.parametrize("kernel", INSTALLED, ids=lambda kernel: kernel.name)
def test_a_kernel_is_exact_at_the_extremes_of_int8(kernel, dimensions):
    assert kernels.is_exact(kernel, dimensions)
    rows = np.full((3, dimensions), -128, np.int8)
    probe = np.full(dimensions, -127, np.int8)
    assert np.array_equal(scanned(kernel, rows, probe), np.full(3, 128 * 127 * dimensions))


def test_a_kernel_reads_a_gallery_that_cannot_be_written():
    rows = np.arange(96, dtype=np.int8).reshape(4, 24)
    rows.flags.writeable = False
    for kernel in INSTALLED:
        assert np.array_equal(scanned(kernel, rows, rows[2]), rows.astype(int) @ rows[2].astype(int))


def test_simsimd_is_exact_on_lesser_processors_too():
    simsimd = pytest.importorskip("simsimd")
    had = [name for name, is_there in simsimd.get_capabilities().items() if is_there and name != "serial"]
    kernel = kernels.SimsimdKernel()
    try:
        for name in reversed(had):
            simsimd.disable_capability(name)
            assert kernels.is_exact(kernel, 192), name
            assert kernels.is_exact(kernel, 127), name
    finally:
        for name in had:
            simsimd.enable_capability(name)


def test_the_fastest_kernel_is_chosen():
    clock = HandClock()

    class Slowed:
        def __init__(self, name, seconds):
            self.name = name
            self._seconds = seconds

        def scan(self, rows, probe, out):
            clock.advance(self._seconds)

    slow, quick = Slowed("slow", 0.003), Slowed("quick", 0.001)
    assert kernels.fastest((slow, quick), 192, clock) is quick
    assert kernels.fastest((quick, slow), 192, clock) is quick


def test_a_kernel_that_is_not_exact_is_noticed():
    class Saturating:
        name = "saturating"

        def scan(self, rows, probe, out):
            products = rows.astype(np.int32) * probe.astype(np.int32)
            out[:] = np.clip(products, -(2**14) + 1, 2**14 - 1).sum(axis=1)

    assert not kernels.is_exact(Saturating(), 192)


def test_a_kernel_can_be_named_and_an_unknown_one_is_refused():
    assert kernels.named("numpy").name == "numpy"
    with pytest.raises(ConfigError, match="installed: .*numpy"):
        kernels.named("abacus")


def test_the_chosen_kernel_is_one_of_those_installed():
    assert kernels.choose(192) in INSTALLED
    assert kernels.choose(192) is kernels.choose(192)
