"""Parts that need no application: similarity, ranges of bytes, recent queries, settings."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.scores.seqsim import seqsim
from isogloss.search.server.items import byte_range
from isogloss.search.server.problems import Problem, rendered
from isogloss.search.server.recent import RecentQueries
from isogloss.search.server.settings import ServeSettings
from isogloss.search.server.similarity import similarity_map
from isogloss.types import Sequences


def test_a_map_by_hand() -> None:
    query = np.array([[2, 0], [0, 3], [0, 0]], np.float32)
    item = np.array([[1, 0], [-1, 0]], np.float32)
    found = similarity_map(query, item)
    # Cosines: 1 -1 / 0 0 / 0 0.
    assert (found["rows"], found["columns"]) == (3, 2)
    assert (found["low"], found["high"]) == (-1.0, 1.0)
    assert list(base64.b64decode(found["cosines"])) == [255, 0, 128, 128, 128, 128]
    assert found["best_columns"] == [0, 0, 0]
    assert found["best_rows"] == [0, 1]
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == pytest.approx(1 / 2)
    assert found["score"] == pytest.approx(2 * (1 / 6) / (5 / 6))


def test_a_map_scores_as_seqsim_does() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((7, 5)).astype(np.float32)
    b = rng.standard_normal((9, 5)).astype(np.float32)
    found = similarity_map(a, b)["score"]
    expected = seqsim(Sequences.from_list(["a"], [a]), Sequences.from_list(["b"], [b]))[0, 0]
    assert found == pytest.approx(float(expected), abs=1e-6)


def test_maps_of_opposites_constants_and_nothing() -> None:
    one = np.ones((2, 3), np.float32)
    assert similarity_map(one, -one)["score"] == 0.0
    assert set(base64.b64decode(similarity_map(one, one)["cosines"])) == {0}
    for a, b in ((one[:0], one), (one, one[:0]), (one, one[:, :2])):
        with pytest.raises(ValueError, match="cannot compare"):
            similarity_map(a, b)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0-" + "9" * 40, None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_ranges_without_a_byte_are_416(header: str) -> None:
    with pytest.raises(Problem) as caught:
        byte_range(header, 10)
    assert caught.value.status == 416
    assert caught.value.headers["Content-Range"] == "bytes */10"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40))
def test_a_range_is_the_slice_it_names(first: int, last: int, size: int) -> None:
    content = bytes(range(size))
    if first >= size:
        return
    span = byte_range(f"bytes={first}-{last}", size)
    if last < first:
        assert span is None
    else:
        assert span is not None
        assert content[span[0] : span[1]] == content[first : last + 1]


def test_recent_queries_stay_within_their_memory() -> None:
    recent = RecentQueries(most_bytes=1000, seconds=60)
    steps = np.zeros((10, 10), np.float32)  # 400 bytes
    names = [recent.keep("audio", steps, wav=b"x" * 50) for _ in range(5)]
    assert [recent.get(name) is not None for name in names] == [False, False, False, True, True]
    assert len(set(names)) == 5
    huge = recent.keep("audio", np.zeros((100, 10), np.float32))
    assert recent.get(huge) is None
    assert recent.get(recent.keep("item", steps, item_id="a")) is not None


def test_recent_queries_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import isogloss.search.server.recent as module

    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    recent = RecentQueries(most_bytes=10_000, seconds=60)
    name = recent.keep("audio", np.zeros((1, 1), np.float32))
    now[0] = 59.0
    assert recent.get(name) is not None
    now[0] = 61.0
    assert recent.get(name) is None


def test_json_is_utf_8_even_of_half_a_character() -> None:
    assert rendered({"a": "乡"}) == '{"a":"乡"}'.encode()
    assert rendered({"a": "\ud800"}) == b'{"a":"\\ud800"}'
    with pytest.raises(ValueError, match="JSON"):
        rendered({"a": float("nan")})


@pytest.mark.parametrize(
    "change",
    [
        {"max_concurrent": 0},
        {"queue": -1},
        {"timeout_seconds": float("inf")},
        {"max_seconds": float("nan")},
        {"batch_size": 0},
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        ServeSettings(**change)  # type: ignore[arg-type]
