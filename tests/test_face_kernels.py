import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock
from device.errors import ConfigError
from device.face import kernels

INSTALLED = kernels.installed()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.integers(1, 80), st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 127]),
       st.sampled_from([1, 2]))
def test_all_kernels_give_the_same_exact_sums(dimensions, count, seed, size, threads):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-size - 1, size, (count, dimensions), dtype=np.int8, endpoint=True)
    probe = rng.integers(-size, size, dimensions, dtype=np.int8, endpoint=True)
    exact = rows.astype(np.int64) @ probe.astype(np.int64)
    for kernel in INSTALLED:
        found = kernel.scan(rows, probe, threads)
        assert found.dtype == np.float32
        assert np.array_equal(found, exact), kernel.name


@pytest.mark.parametrize("dimensions", [1, 128, 192, 512, 1024])
@pytest.mark.parametrize("kernel", INSTALLED, ids=lambda kernel: kernel.name)
def test_a_kernel_is_exact_at_the_extremes_of_int8(kernel, dimensions):
    assert kernels.is_exact(kernel, dimensions)
    rows = np.full((3, dimensions), -128, np.int8)
    probe = np.full(dimensions, -127, np.int8)
    assert np.array_equal(kernel.scan(rows, probe), np.full(3, 128 * 127 * dimensions))


@pytest.mark.parametrize("kernel", INSTALLED, ids=lambda kernel: kernel.name)
def test_a_scan_gives_away_nothing_that_it_does_not_own(kernel):
    rows = np.ones((5, 64), np.int8)
    before = sys.getrefcount(None), sys.getrefcount(rows)
    for threads in (1, 2):
        for _ in range(500):
            kernel.scan(rows, rows[0], threads)
    after = sys.getrefcount(None), sys.getrefcount(rows)
    assert all(abs(now - then) < 100 for now, then in zip(after, before, strict=True)), (before, after)


@pytest.mark.parametrize("kernel", INSTALLED, ids=lambda kernel: kernel.name)
def test_the_sums_are_the_callers_own(kernel):
    rows = np.ones((5, 64), np.int8)
    first, second = kernel.scan(rows, rows[0]), kernel.scan(rows, -rows[0])
    first *= 2.0
    assert set(first) == {128.0}
    assert set(second) == {-64.0}


def test_a_kernel_reads_a_gallery_that_cannot_be_written():
    rows = np.arange(96, dtype=np.int8).reshape(4, 24)
    rows.flags.writeable = False
    for kernel in INSTALLED:
        assert np.array_equal(kernel.scan(rows, rows[2]), rows.astype(int) @ rows[2].astype(int))


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

        def scan(self, rows, probe, threads=1):
            clock.advance(self._seconds)

    slow, quick = Slowed("slow", 0.003), Slowed("quick", 0.001)
    assert kernels.fastest((slow, quick), 192, clock) is quick
    assert kernels.fastest((quick, slow), 192, clock) is quick


def test_a_kernel_that_is_not_exact_is_noticed():
    class Saturating:
        name = "saturating"

        def scan(self, rows, probe, threads=1):
            products = rows.astype(np.int32) * probe.astype(np.int32)
            return np.clip(products, -(2**14) + 1, 2**14 - 1).sum(axis=1)

    assert not kernels.is_exact(Saturating(), 192)


def test_a_kernel_can_be_named_and_an_unknown_one_is_refused():
    assert kernels.named("numpy").name == "numpy"
    with pytest.raises(ConfigError, match="installed: .*numpy"):
        kernels.named("abacus")


def test_the_chosen_kernel_is_one_of_those_installed_until_another_is_settled_on(monkeypatch):
    monkeypatch.setattr(kernels, "_chosen", {})
    assert kernels.choose(192) in INSTALLED
    assert kernels.choose(192) is kernels.choose(192)
    numpy = kernels.named("numpy")
    kernels.settle(192, numpy)
    assert kernels.choose(192) is numpy


def test_a_second_thread_is_asked_for_by_large_galleries_alone(monkeypatch):
    small, large = np.empty((100_000, 192), np.int8), np.empty((1_000_000, 192), np.int8)
    monkeypatch.setattr(kernels.os, "cpu_count", lambda: 2)
    assert [kernels.threads_for(rows) for rows in (small, large)] == [1, 2]
    monkeypatch.setattr(kernels.os, "cpu_count", lambda: 1)
    assert kernels.threads_for(large) == 1
