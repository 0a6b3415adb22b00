"""The other ways to the same scores: numpy where numba is missing, torch for other devices."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from isogloss.errors import MissingExtra
from isogloss.scores import seqsim
from isogloss.types import Sequences
from sequence_makers import KINDS, awkward_sequences

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
