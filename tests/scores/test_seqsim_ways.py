"""The other ways to the same scores: numpy where numba is missing, torch for other devices."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.errors import MissingExtra
from isogloss.scores import seqsim
from isogloss.types import Sequences
from sequence_makers import KINDS, awkward_sequences

if TYPE_CHECKING:
    from pathlib import Path

MODULE = importlib.import_module("isogloss.scores.seqsim")


def test_without_numba_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = awkward_sequences("noise", 9, 6, 0), awkward_sequences("zero steps", 5, 6, 1)
    expected = seqsim(a, b)
    monkeypatch.setattr(MODULE, "compiled_loops", lambda: False)
    monkeypatch.setitem(sys.modules, "isogloss.scores.seqsim_tiles", None)
    for budget in (256, 0.001):
        np.testing.assert_allclose(seqsim(a, b, memory_budget_mb=budget), expected, atol=1e-6)
        itself = seqsim(a, a, memory_budget_mb=budget)
        np.testing.assert_array_equal(itself, itself.T)
        np.testing.assert_allclose(np.diag(itself), 1, atol=1e-6)
    broken = Sequences(("x",), np.array([[0] * 6, [np.nan] * 6], np.float32), np.array([0, 2]))
    with pytest.raises(ValueError, match="'x' holds NaN or infinity at step 1"):
        seqsim(a, broken)


def test_infinities_of_both_signs_raise_and_do_not_warn() -> None:
    a = awkward_sequences("noise", 3, 6, 0)
    a.values[a.offsets[1], :2] = np.inf, -np.inf
    with pytest.raises(ValueError, match="holds NaN or infinity at step 0"):
        MODULE._all_pairs_numpy(a, a, 1)


def test_a_numba_that_does_not_work_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.0 or less')\n")
    code = (
        "import numpy as np; from isogloss.scores import seqsim_pair; x = np.eye(2, dtype='f4');"
        "print(seqsim_pair(x, x))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1.0", done.stderr
    assert "numba cannot be used" in done.stderr
    assert "Numba needs NumPy 2.0 or less" in done.stderr


def test_the_loops_of_the_index_name_the_extra_without_numba(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    name = "isogloss.scores.seqsim_instructions"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtra, match=r"numba is not installed.*isogloss\[search\]"):
        importlib.import_module(name)


@pytest.mark.parametrize("way", ["compiled", "numpy"])
def test_tables_stay_within_the_budget(way: str) -> None:
    """Items of one step have as many maxima and scores as cosines; a long one is a block alone."""
    rng = np.random.default_rng(0)
    lengths = [1] * 1200 + [8_000]
    values = rng.standard_normal((sum(lengths), 4)).astype(np.float32)
    ids = tuple(str(number) for number in range(len(lengths)))
    a = Sequences(ids, values, np.cumsum([0, *lengths]))
    b = a.select(range(1199, -1, -1))
    if way == "compiled":
        pytest.importorskip("numba", reason="the compiled loops need numba (extra search)")
    score = MODULE._all_pairs_numpy if way == "numpy" else _compiled
    score(a.select([0, 1]), b.select([0, 1]), 4)
    steps = 4 * 2 * (a.values.nbytes + b.values.nbytes)  # copies, and what makes them
    for left, right in ((a, b), (b, a)):
        tracemalloc.start()
        try:
            scores = score(left, right, 4)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < scores.nbytes + steps + (4 + 2) * 2**20


def _compiled(a: Sequences, b: Sequences, budget: float) -> np.ndarray:
    return seqsim(a, b, memory_budget_mb=budget, threads=1)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(threads: int) -> None:
    a = awkward_sequences("noise", 2, 6, 0)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        seqsim(a, a, threads=threads)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [256, 0.0005])
def test_torch_gives_the_same(kind: str, budget: float) -> None:
    pytest.importorskip("torch", reason="needs the extra speech").set_num_threads(1)
    from isogloss.scores.seqsim_torch import all_pairs

    a, b = awkward_sequences(kind, 13, 6, 0), awkward_sequences("noise", 5, 6, 1)
    scores = all_pairs(a, b, memory_budget_mb=budget, device="cpu")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, seqsim(a, b), atol=2e-6)
    itself = all_pairs(a, a, memory_budget_mb=budget, device="cpu")
    np.testing.assert_allclose(itself, seqsim(a, a), atol=2e-6)


def test_torch_refuses_what_the_processor_refuses() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra speech")
    from isogloss.scores.seqsim_torch import all_pairs

    a = awkward_sequences("noise", 3, 6, 0)
    none = a.select([])
    assert all_pairs(none, a, memory_budget_mb=1, device="cpu").shape == (0, 3)
    assert all_pairs(a, none, memory_budget_mb=1, device="cpu").shape == (3, 0)
    a.values[a.offsets[1], 2] = np.inf
    with pytest.raises(ValueError, match="holds NaN or infinity at step 0"):
        all_pairs(none, a, memory_budget_mb=1, device="cpu")
    hollow = Sequences(("hollow",), a.values[:0], np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="'hollow' has no steps"):
        all_pairs(hollow, none, memory_budget_mb=1, device="cpu")
    with pytest.raises(ValueError, match="cannot use the device 'abacus'"):
        seqsim(none, none, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cannot use the device 'cuda'"):
            seqsim(none, none, device="cuda")


def test_torch_keeps_float32_whatever_the_program_has_set() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra speech")
    from isogloss.scores.seqsim_torch import all_pairs

    a, b = awkward_sequences("noise", 13, 64, 0), awkward_sequences("near ties", 5, 64, 1)
    expected = all_pairs(a, b, memory_budget_mb=1, device="cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = all_pairs(a, b, memory_budget_mb=1, device="cpu")
    np.testing.assert_array_equal(scores, expected)
    torch.set_default_dtype(torch.bfloat16)
    try:
        scores = all_pairs(a, b, memory_budget_mb=1, device="cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("name", ["fp32_precision", "allow_tf32"])
def test_torch_settings_are_put_back_after_the_last_thread(name: str) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra speech")
    from isogloss.scores.seqsim_torch import all_pairs

    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, name):
        pytest.skip("this torch has the older setting only")
    a = awkward_sequences("noise", 60, 64, 0)
    before = getattr(matmul, name)
    chosen = "tf32" if name == "fp32_precision" else True
    setattr(matmul, name, chosen)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: all_pairs(a, a, memory_budget_mb=1, device="cpu"), range(12)))
        assert getattr(matmul, name) == chosen
    finally:
        setattr(matmul, name, before)


def test_torch_takes_awkward_arrays() -> None:
    pytest.importorskip("torch", reason="needs the extra speech")
    from isogloss.scores.seqsim_torch import all_pairs

    a = awkward_sequences("noise", 4, 6, 0)
    backwards = Sequences(a.ids, np.ascontiguousarray(a.values[::-1])[::-1], a.offsets)
    backwards.offsets.flags.writeable = False
    np.testing.assert_array_equal(
        all_pairs(backwards, a, memory_budget_mb=1, device="cpu"),
        all_pairs(a, a, memory_budget_mb=1, device="cpu"),
    )
    none = Sequences(("b", "a"), np.zeros((3, 0), np.float32), np.array([0, 2, 3]))
    assert not all_pairs(none, none, memory_budget_mb=1, device="cpu").any()


def test_torch_on_a_gpu_gives_the_same() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra speech")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    a, b = awkward_sequences("noise", 200, 64, 0), awkward_sequences("noise", 100, 64, 1)
    np.testing.assert_allclose(seqsim(a, b, device="cuda"), seqsim(a, b), atol=5e-6)


def test_another_device_without_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "isogloss.scores.seqsim_torch", raising=False)
    monkeypatch.delattr("isogloss.scores.seqsim_torch", raising=False)
    a = awkward_sequences("noise", 2, 6, 0)
    with pytest.raises(MissingExtra, match=r"torch is not installed.*isogloss\[speech\]"):
        seqsim(a, a, device="cuda")
