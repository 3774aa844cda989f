"""Commissioning: what is compiled and measured once is kept, taken at the next start, distrusted if need be."""

import json
import shutil

import numpy as np
import pytest
from gallery_samples import gallery_of_rows, quantised, unit_rows

from device.clock import SystemClock
from device.face import compiled, kernel_choice, kernels, match
from device.face.compiled import CompiledKernel, library_path
from device.face.kernel_choice import FOLDER, commission, is_commissioned, recall

CLOCK = SystemClock()
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler here")


@pytest.fixture(autouse=True)
def own_choices(monkeypatch):
    monkeypatch.setattr(kernels, "_chosen", {})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_chosen", {})
        commission(folder, 192, CLOCK)
    return folder


def kept(folder):
    return folder / FOLDER / "choice-192.json"


def test_the_choice_is_kept_and_taken_without_measuring(cache, monkeypatch):
    name = json.loads(kept(cache).read_text())["kernel"]
    monkeypatch.setattr(kernel_choice, "fastest", lambda *ignored: pytest.fail("measured again"))
    assert recall(cache, 192, CLOCK).name == name
    assert kernels.choose(192).name == name


@pytest.mark.parametrize("harm", [
    lambda path: path.write_text("{"), lambda path: path.write_text("[1]"), lambda path: path.unlink(),
    lambda path: path.write_text(path.read_text().replace('"python": "', '"python": "0')),
    lambda path: path.write_text(path.read_text().replace('"kernel": "', '"kernel": "abacus'))])
def test_a_choice_that_does_not_fit_is_measured_anew(cache, tmp_path, harm):
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    harm(kept(tmp_path))
    choice = recall(tmp_path, 192, CLOCK)
    assert choice.name in choice.measured
    assert json.loads(kept(tmp_path).read_text())["kernel"] == choice.name
    assert recall(tmp_path, 192, CLOCK).measured == ()


@needs_compiler
def test_a_machine_is_commissioned_once_the_compiled_kernel_was_measured_on_it(cache, tmp_path):
    assert is_commissioned(cache, 192)
    assert not is_commissioned(cache, 128)
    recall(tmp_path, 192, CLOCK)  # as doord does at a start that nobody prepared: without a compiler
    assert not is_commissioned(tmp_path, 192)


def test_without_a_compiler_whatever_was_measured_is_all_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_choice, "compiler_here", lambda: None)
    assert not is_commissioned(tmp_path, 192)
    recall(tmp_path, 192, CLOCK)
    assert is_commissioned(tmp_path, 192)


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_measurement(tmp_path):
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    choice = commission(tmp_path, 192, CLOCK)
    assert set(choice.measured) == {kernel.name for kernel in kernels.installed()}
    assert kernels.choose(192).name == choice.name


def test_without_a_compiler_the_installed_kernels_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert "compiled" not in commission(tmp_path, 192, CLOCK).measured


@needs_compiler
@pytest.mark.parametrize("dimensions", [1, 127, 192, 1024])
def test_what_the_compiler_made_is_exact(tmp_path, dimensions):
    assert compiled.build(tmp_path, dimensions)
    kernel = CompiledKernel(library_path(tmp_path, dimensions), dimensions)
    assert kernels.is_exact(kernel, dimensions)
    rng = np.random.default_rng(3)
    rows = rng.integers(-128, 127, (513, dimensions), dtype=np.int8, endpoint=True)
    exact = rows.astype(np.int64) @ rows[7].astype(np.int64)
    for threads in (1, 2):
        assert np.array_equal(kernel.scan(rows, rows[7], threads), exact)
        assert np.array_equal(kernel.scan(rows[::2], rows[7], threads), exact[::2])


@needs_compiler
def test_the_compiled_kernel_finds_whom_the_others_find(cache, monkeypatch):
    kernel = CompiledKernel(library_path(cache / FOLDER, 192), 192)
    rng = np.random.default_rng(4)
    gallery = gallery_of_rows(quantised(unit_rows(rng, 9000, 192))[0], rng.integers(0, 3000, 9000))
    for threads in (1, 2):
        monkeypatch.setattr(match, "threads_for", lambda rows, count=threads: count)
        for probe in unit_rows(rng, 5, 192):
            assert len({match.identify(gallery, probe, each) for each in (kernel, *kernels.installed())}) == 1


@needs_compiler
def test_rows_of_another_size_are_refused(cache):
    kernel = CompiledKernel(library_path(cache / FOLDER, 192), 192)
    rows = np.ones((3, 128), np.int8)
    with pytest.raises(ValueError, match="made for 192"):
        kernel.scan(rows, rows[0])


@needs_compiler
@pytest.mark.parametrize("harm", [
    lambda path: path.chmod(0o775), lambda path: path.chmod(0o757), lambda path: path.write_bytes(b"\x7fELF nothing"),
    lambda path: path.unlink()])
def test_a_library_that_others_could_have_written_or_that_is_none_is_not_loaded(cache, tmp_path, harm):
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    path = library_path(tmp_path / FOLDER, 192)
    harm(path)
    with pytest.raises(ImportError, match="scan-192"):
        CompiledKernel(path, 192)
    assert recall(tmp_path, 192, CLOCK).name in {kernel.name for kernel in kernels.installed()}


@needs_compiler
def test_a_library_made_on_another_board_is_not_loaded(cache, monkeypatch):
    monkeypatch.setattr(compiled, "processor", lambda: "another")
    with pytest.raises(ImportError):
        CompiledKernel(library_path(cache / FOLDER, 192), 192)


def test_a_processor_is_known_by_what_it_can_do_and_not_by_its_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "_CPUINFO", tmp_path / "cpuinfo")
    found = []
    for flags, clock in (("avx2 avx512_vnni", 2300), ("avx2 avx512_vnni", 3100), ("avx2", 2300)):
        (tmp_path / "cpuinfo").write_text(f"model name\t: A\ncpu MHz\t: {clock}\nflags\t: {flags}\n\nflags\t: x\n")
        found.append(compiled.processor.__wrapped__())
    assert found[0] == found[1] != found[2]
    (tmp_path / "cpuinfo").unlink()
    assert len(compiled.processor.__wrapped__()) == 16


@needs_compiler
def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "SOURCE", "this is not C")
    assert not compiled.build(tmp_path, 192)
    assert list(tmp_path.iterdir()) == []
