"""Distances: trees and places worked by hand, and laws on the shipped table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.types import Variety
from isogloss.varieties import (
    VarietyRow,
    VarietyTable,
    builtin_table,
    genealogical_distance,
    geographic_distance_km,
)

PLACED = [code for code, variety in builtin_table().items() if variety.latitude is not None]


def small() -> VarietyTable:
    """Two families: r over p (over x, y) and q; s alone. Places on the equator and at a pole."""
    rows = [
        Variety("r", "R"),
        Variety("p", "P", parent="r", latitude=0.0, longitude=0.0),
        Variety("x", "X", parent="p", latitude=0.0, longitude=90.0),
        Variety("y", "Y", parent="p", latitude=90.0, longitude=12.0),
        Variety("q", "Q", parent="r", latitude=0.0, longitude=180.0),
        Variety("s", "S", latitude=0.0, longitude=-179.0),
    ]
    return VarietyTable(VarietyRow(row) for row in rows)


def test_path_lengths_by_hand() -> None:
    paths = genealogical_distance(["x", "p"], ["x", "y", "q", "s"], table=small(), normalised=False)
    np.testing.assert_array_equal(paths, [[0, 2, 3, 4], [1, 3 - 2, 2, 3]])


def test_normalised_by_hand() -> None:
    # Depths: x 3, y 3, q 2, s 1. Paths from x: 0, 2, 3, 4.
    found = genealogical_distance(["x"], ["x", "y", "q", "s"], table=small())
    np.testing.assert_allclose(found, [[0.0, 2 / 6, 3 / 5, 1.0]], rtol=1e-6)
    assert found.dtype == np.float32


def test_dialects_of_one_group_are_nearer_than_other_groups() -> None:
    wenzhou, cantonese, english = genealogical_distance(
        ["wuu-suzhou"], ["wuu-wenzhou", "yue", "eng"]
    )[0]
    assert wenzhou < cantonese < english == 1.0


@given(st.lists(st.sampled_from(builtin_table().codes), min_size=1, max_size=6))
def test_tree_distance_is_a_metric(codes: list[str]) -> None:
    paths = genealogical_distance(codes, normalised=False)
    np.testing.assert_array_equal(paths, paths.T)
    for i, x in enumerate(codes):
        for j, y in enumerate(codes):
            assert (paths[i, j] == 0) == (x == y)
            assert np.all(paths[i, j] <= paths[i] + paths[:, j])
    normalised = genealogical_distance(codes)
    assert np.all((normalised >= 0) & (normalised <= 1))


def test_great_circles_by_hand() -> None:
    quarter = 6371.0088 * np.pi / 2
    found = geographic_distance_km(["p"], ["p", "x", "y", "q"], table=small())
    np.testing.assert_allclose(found, [[0, quarter, quarter, 2 * quarter]], rtol=1e-6)
    across = geographic_distance_km(["q"], ["s"], table=small())
    np.testing.assert_allclose(across, [[6371.0088 * np.pi / 180]], rtol=1e-5)


def test_known_cities() -> None:
    # Beijing to Guangzhou is about 1,890 km and Shanghai to Suzhou about 85 km as the crow flies.
    far, near = (
        geographic_distance_km(["cmn-beijing"], ["yue-guangzhou"]).item(),
        geographic_distance_km(["wuu-shanghai"], ["wuu-suzhou"]).item(),
    )
    assert 1840 < far < 1940
    assert 70 < near < 110


@given(st.lists(st.sampled_from(PLACED), min_size=1, max_size=6))
def test_great_circles_are_symmetric_and_bounded(codes: list[str]) -> None:
    found = geographic_distance_km(codes)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0)
    assert np.all((found >= 0) & (found <= 20016))


def test_a_variety_without_a_place_is_refused_or_nan() -> None:
    with pytest.raises(ValueError, match="no place in the table for r"):
        geographic_distance_km(["p", "r"], table=small())
    found = geographic_distance_km(["p", "r"], table=small(), missing="nan")
    np.testing.assert_array_equal(np.isnan(found), [[False, True], [True, True]])
    with pytest.raises(ValueError, match="zero"):
        geographic_distance_km(["p"], table=small(), missing="zero")  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", [genealogical_distance, geographic_distance_km])
def test_empty_lists_and_unknown_codes(measure: object) -> None:
    assert callable(measure)
    assert measure([], ["cmn", "yue"]).shape == (0, 2)
    assert measure(["cmn"], []).shape == (1, 0)
    assert measure([]).dtype == np.float32
    with pytest.raises(UnknownName, match="cmn"):
        measure(["cmnn"])
