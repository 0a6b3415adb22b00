"""The compiled loops: the same scores as numpy, to the bit the same in any company."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.scores import seqsim, seqsim_pair
from isogloss.types import Sequences
from sequence_makers import KINDS, awkward_sequences, steps_against_their_rests

pytest.importorskip("numba", reason="the compiled loops need numba (extra search)")

from isogloss.scores import seqsim_kernels as kernels
from isogloss.scores import seqsim_preparation as preparation
from isogloss.scores import seqsim_tiles as tiles
from isogloss.scores.seqsim_instructions import shape_for

if TYPE_CHECKING:
    from collections.abc import Iterator


def by_numpy(a: Sequences, b: Sequences) -> np.ndarray:
    module = importlib.import_module("isogloss.scores.seqsim")
    return module._all_pairs_numpy(a, b, 1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.integers(0, 10_000),
    st.integers(1, 20),
    st.sampled_from([1, 2, 3, 5, 16, 63]),
)
def test_equals_numpy(kind: str, other: str, seed: int, count: int, dimensions: int) -> None:
    a = awkward_sequences(kind, count, dimensions, seed)
    b = awkward_sequences(other, 7, dimensions, seed + 1)
    np.testing.assert_allclose(seqsim(a, b), by_numpy(a, b), atol=2e-6)


@pytest.mark.parametrize("budget", [256, 0.05, 0.0001])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_score_is_the_same_to_the_bit_in_any_company(budget: float, threads: int) -> None:
    rng = np.random.default_rng(3)
    lengths = [*rng.integers(1, 90, 30), 700, 1]  # one longer than a chunk of rows and a panel
    arrays = [rng.standard_normal((n, 37)).astype(np.float32) for n in lengths]
    a = Sequences.from_list([str(n) for n in range(len(arrays))], arrays)
    scores = seqsim(a, a, memory_budget_mb=budget, threads=threads)
    np.testing.assert_array_equal(scores, scores.T)
    copy = a.select(range(len(a)))
    np.testing.assert_array_equal(scores, seqsim(a, copy, threads=1))
    order = rng.permutation(len(a))
    np.testing.assert_array_equal(
        seqsim(a.select(order), copy, memory_budget_mb=budget), scores[order]
    )
    for i, j in rng.integers(0, len(a), (20, 2)).tolist():
        assert seqsim_pair(a[i], a[j]) == scores[i, j]


def test_score_candidates_equals_seqsim_to_the_bit() -> None:
    query = awkward_sequences("noise", 1, 24, 0)
    items = awkward_sequences("zero steps", 60, 24, 1)
    steps = np.concatenate([np.ones((5, 24), np.float32), tiles.unit(items)])
    scores = kernels.score_candidates(tiles.unit(query), steps, items.offsets + 5)
    np.testing.assert_array_equal(scores, seqsim(query, items)[0])
    none = kernels.score_candidates(tiles.unit(query), steps, np.array([3]))
    assert none.shape == (0,)


def test_score_candidates_of_codes_ignores_their_length() -> None:
    query = awkward_sequences("noise", 1, 24, 0)
    codes = np.random.default_rng(0).integers(-127, 128, (50, 24)).astype(np.int8)
    offsets = np.array([3, 10, 11, 50])
    items = Sequences(tuple("abc"), codes[3:].astype(np.float32), offsets - 3)
    scores = kernels.score_candidates(tiles.unit(query), codes, offsets)
    np.testing.assert_array_equal(scores, seqsim(query, items)[0])


@pytest.mark.parametrize(
    ("query", "values", "offsets"),
    [
        (np.ones((0, 3)), np.ones((4, 3)), [0, 4]),
        (np.ones((2, 3)), np.ones((4, 3)), [0, 2, 2, 4]),
        (np.ones((2, 3)), np.ones((4, 5)), [0, 4]),
        (np.ones((2, 3)), np.ones((4, 3)), [0, 2, 5]),
        (np.ones((2, 3)), np.ones((4, 3)), [-1, 2]),
    ],
)
def test_score_candidates_refuses(query: np.ndarray, values: np.ndarray, offsets: list) -> None:
    with pytest.raises(ValueError, match=r"no steps|has shape \(2, 3\)|there are 4 steps"):
        kernels.score_candidates(
            query.astype(np.float32), values.astype(np.float32), np.array(offsets)
        )


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10_000), st.sampled_from([1, 3, 8, 130]))
def test_quantised_steps_are_as_near_as_they_say(kind: str, seed: int, dimensions: int) -> None:
    items = awkward_sequences(kind, 9, dimensions, seed)
    steps = tiles.unit(items)
    codes = tiles.quantised(steps, items.offsets)
    assert codes.codes.shape[1] % 4 == 0
    back = codes.codes[:, :dimensions].astype(np.float64) * codes.scales[:, None]
    rests = np.linalg.norm(steps - back, axis=1)
    assert (rests <= codes.errors).all()
    # Half a step of the scale in each dimension is the worst.
    assert (codes.errors <= np.sqrt(dimensions) * codes.scales * 0.51).all()
    np.testing.assert_array_equal(codes.starts, -128 * codes.codes.sum(axis=1, dtype=np.int32))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.integers(0, 10_000),
    st.sampled_from([1, 3, 8, 130]),
)
def test_bounds_hold(kind: str, other: str, seed: int, dimensions: int) -> None:
    if not kernels.FAST_INT8:
        pytest.skip("this processor has no VNNI")
    a = awkward_sequences(kind, 6, dimensions, seed)
    b = awkward_sequences(other, 11, dimensions, seed + 1)
    assert (highest(a, b) >= seqsim(a, b)).all()


def highest(a: Sequences, b: Sequences) -> np.ndarray:
    """The most that scores can be by their int8 steps."""
    from isogloss.search.exact import _Quantised, _Sides

    quantised = _Quantised(_Sides(a, b, 1.0, 1))
    table = np.empty((len(a), len(b)), np.float32)
    for block, (first, last) in enumerate(quantised.columns):
        quantised.bound((0, len(a)), block, table[:, first:last])
    return table


@pytest.mark.parametrize("dimensions", [2, 3, 17, 192, 2048])
def test_bounds_hold_where_they_are_reached(dimensions: int) -> None:
    if not kernels.FAST_INT8:
        pytest.skip("this processor has no VNNI")
    a, b = steps_against_their_rests(dimensions, dimensions)
    above = highest(a, b) - seqsim(a, b)
    assert above.min() >= 0
    rounding = 2 * (2 * dimensions + 32) * 2.0**-24
    # Not much above either: the bound is of use.
    assert above.min() <= rounding + 1e-4
    assert (highest(b, a) >= seqsim(b, a)).all()


def test_tiles_fit_the_registers() -> None:
    for features, machine, registers in (
        ({"avx512f", "avx512vnni", "avx2", "fma"}, "x86_64", 32),
        ({"avx2", "fma", "avxvnni"}, "x86_64", 16),
        ({"sse2"}, "x86_64", 16),
        ({"neon"}, "aarch64-linux", 32),
    ):
        shape = shape_for(features, machine)
        assert shape.rows * shape.vectors + shape.vectors + 1 <= registers
        assert shape.fast_int8 == bool({"avx512vnni", "avxvnni"} & features)


OTHER_PROCESSOR = """
import numpy as np
from sequence_makers import awkward_sequences
from isogloss.scores import seqsim
from isogloss.scores.seqsim import _all_pairs_numpy
from isogloss.scores.seqsim_instructions import SHAPE
from isogloss.search.exact import nearest, fast_int8
a = awkward_sequences("noise", 40, 21, 0)
b = awkward_sequences("near ties", 30, 21, 1)
assert np.abs(seqsim(a, b) - _all_pairs_numpy(a, b, 1.0)).max() < 2e-6
same = nearest(a, b, 3, method="int8").hits == nearest(a, b, 3, method="float32").hits
print(SHAPE.lanes, SHAPE.vectors, fast_int8(), same)
"""


@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("x86-64", "-avx2", "4 2 False True"),
        ("haswell", "+avx2,+fma", "8 2 False True"),
        ("haswell", "+avx2,+fma,+avx512vl,+avx512vnni", "8 2 True True"),
    ],
)
def test_other_processors(name: str, features: str, expected: str) -> None:
    from llvmlite import binding

    host = {key for key, has in binding.get_host_cpu_features().items() if has}
    wanted = {part[1:] for part in features.split(",") if part.startswith("+")}
    if "sse2" not in host or not wanted <= host:
        pytest.skip(f"this processor cannot run code for {name} {features}")
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": name,
        "NUMBA_CPU_FEATURES": features,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESSOR], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NUMBA_ENABLE_AVX", "0", "shape 4 2 False compiled True"),
        ("NUMBA_CPU_NAME", "generic", "shape 4 2 False compiled True"),
        ("NUMBA_DISABLE_JIT", "1", "refused; compiled False"),
    ],
)
def test_settings_of_numba_are_heeded(name: str, value: str, expected: str) -> None:
    from llvmlite import binding

    if "x86" not in binding.get_default_triple():
        pytest.skip("the expected tile is that of x86")
    code = """
import numpy as np
from isogloss.errors import IsoglossError
from isogloss.scores import seqsim_pair
from isogloss.scores.seqsim_blocks import compiled_loops
from isogloss.scores.seqsim_instructions import SHAPE
from isogloss.scores.seqsim_kernels import score_candidates
x = np.eye(2, dtype=np.float32)
if compiled_loops():
    print("shape", SHAPE.lanes, SHAPE.vectors, SHAPE.fast_int8, end=" ")
else:
    assert seqsim_pair(x, x) == 1
    try:
        score_candidates(x, x, np.array([0, 2]))
    except IsoglossError as problem:
        assert "unset NUMBA_DISABLE_JIT" in str(problem)
        print("refused;", end=" ")
print("compiled", compiled_loops())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


def test_few_tasks_wait_at_one_time() -> None:
    drawn = []

    def tasks() -> Iterator[int]:
        for number in range(10_000):
            drawn.append(number)
            yield number

    results = tiles.in_threads(lambda number: number * 2, tasks(), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(drawn) < 100
    assert list(results) == list(range(6, 20_000, 2))


def test_an_error_in_a_thread_ends_the_others() -> None:
    done = []

    def work(number: int) -> None:
        if number == 5:
            raise KeyboardInterrupt
        done.append(number)

    with pytest.raises(KeyboardInterrupt):
        list(tiles.in_threads(work, range(100_000), 2))
    assert len(done) < 200


def test_callers_in_several_threads_get_the_same() -> None:
    a, b = awkward_sequences("noise", 40, 21, 0), awkward_sequences("near ties", 30, 21, 1)
    expected = seqsim(a, b)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: seqsim(a, b, threads=2), range(20)):
            np.testing.assert_array_equal(scores, expected)


def test_read_only_values_and_offsets_of_any_integers() -> None:
    a, b = awkward_sequences("noise", 9, 6, 0), awkward_sequences("noise", 5, 6, 1)
    for kind in (np.int32, np.uint64):
        values, offsets = a.values.copy(), a.offsets.astype(kind)
        values.flags.writeable = offsets.flags.writeable = False
        same = Sequences(a.ids, values, offsets)
        np.testing.assert_array_equal(seqsim(same, b), seqsim(a, b))
        np.testing.assert_array_equal(by_numpy(same, b), by_numpy(a, b))


def test_compiles_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def read_only(*arguments: object, cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*arguments, **options)

    monkeypatch.setattr(numba, "njit", read_only)
    assert preparation.compiled(lambda x: x + 1)(2) == 3
    # The loops of the index are compiled by the same function.
    from isogloss.search.compiled import compiled_any_order

    assert compiled_any_order(lambda x: x + 1)(2) == 3


def test_unit_steps_are_aligned_and_of_norm_one_or_zero() -> None:
    items = awkward_sequences("huge and small", 9, 5, 0)
    steps = tiles.unit(items, 2)
    assert steps.ctypes.data % 64 == 0
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 1, rtol=1e-6)
    assert preparation.unit_steps(np.zeros((2, 3), np.float32), steps[:2, :3].copy()) == -1
