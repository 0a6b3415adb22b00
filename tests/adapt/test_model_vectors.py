from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.adapt import model_vectors
from isogloss.adapt.model_vectors import STEPS, encode_model
from isogloss.errors import IsoglossError, TextError
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Layered:
    """Steps hold the length of the text plus 100 times the layer; a site without layer 0."""

    layer: int = 3
    layers: tuple[int, ...] = (1, 2, 3)

    @property
    def made_by(self) -> str:
        return f"layered;layer={self.layer}"

    def with_layer(self, layer: int) -> Layered:
        return replace(self, layer=layer)

    def encode(self, items: Sequence[Item]) -> Sequences:
        for item in items:
            if not item.text:
                raise TextError(item.id, "there is no text")
        steps = [
            np.array([[len(str(i.text)) + 100 * self.layer], [100 * self.layer]], np.float32)
            for i in items
        ]
        return Sequences.from_list([i.id for i in items], steps, made_by=self.made_by)

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        return [self.with_layer(layer).encode(items) for layer in self.layers]


@pytest.fixture
def items(monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    monkeypatch.setattr(model_vectors, "load_encoder", lambda name, **_: Layered())
    return [Item(f"i{n}", "a", text="x" * n) for n in (4, 2, 150, 8)]


def test_every_layer_comes_under_its_own_number_and_in_the_order_of_items(
    items: list[Item],
) -> None:
    found = encode_model("fake:", items, layers="all", progress=False)
    assert [one.layer for one in found] == [1, 2, 3]
    for one in found:
        assert one.vectors.ids == ("i4", "i2", "i150", "i8")
        expected = [[100 * (one.layer or 0) + n / 2] for n in (4, 2, 150, 8)]
        np.testing.assert_allclose(one.vectors.values, expected)
        assert "layer=" in one.vectors.made_by


def test_layer_by_layer_with_a_cache_gives_the_same(items: list[Item], tmp_path: Path) -> None:
    fresh = encode_model("fake:", items, layers=[1, 3], progress=False)
    kept = encode_model("fake:", items, layers=[1, 3], cache=tmp_path, progress=False)
    again = encode_model("fake:", items, layers=[1, 3], cache=tmp_path, progress=False)
    for a, b, c in zip(fresh, kept, again, strict=True):
        np.testing.assert_array_equal(a.vectors.values, b.vectors.values)
        np.testing.assert_array_equal(a.vectors.values, c.vectors.values)
    assert any(tmp_path.rglob("*.steps"))


def test_pooling_and_steps(items: list[Item]) -> None:
    first = encode_model("fake:", items, pool="first", progress=False)[0]
    np.testing.assert_array_equal(first.vectors.values[:, 0], [304, 302, 450, 308])
    steps = encode_model("fake:", items, pool=STEPS, progress=False)[0].vectors
    assert isinstance(steps, Sequences)
    assert steps.lengths.tolist() == [2, 2, 2, 2]


def test_an_item_that_cannot_be_encoded_is_left_out_of_every_layer(items: list[Item]) -> None:
    broken = [*items[:2], Item("empty", "a", text=""), *items[2:]]
    found = encode_model("fake:", broken, layers="all", progress=False)
    for one in found:
        assert one.vectors.ids == ("i4", "i2", "i150", "i8")
        assert [item.id for item in one.items] == ["i4", "i2", "i150", "i8"]
        assert one.skipped == (("empty", "item 'empty': there is no text"),)
    with pytest.raises(IsoglossError, match="none of 1 items could be encoded"):
        encode_model("fake:", broken[2:3], layers="all", progress=False)


def test_layers_that_are_not_there_are_named(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="has no layer 0; its layers are 1 to 3"):
        encode_model("fake:", items, layers=[0, 1])
    with pytest.raises(ValueError, match="numbers or 'all'"):
        encode_model("fake:", items, layers="some")


def test_an_encoder_of_one_layer_has_no_others() -> None:
    one = [Item("x", "a", text="some words")]
    found = encode_model("ngram:?dimension=64", one, layers="all", progress=False)
    assert [layer.layer for layer in found] == [None]
    with pytest.raises(ValueError, match="has one layer; leave the layers out"):
        encode_model("ngram:?dimension=64", one, layers=[2], progress=False)


def test_the_layer_of_other_vectors_is_taken(items: list[Item]) -> None:
    (found,) = encode_model("fake:", items, like="layered;layer=2;pool=mean", progress=False)
    assert (found.layer, found.vectors.made_by) == (2, "layered;layer=2;pool=mean")
    # The layer that is named comes first.
    (named,) = encode_model("fake:", items, layers=[1], like="layered;layer=2", progress=False)
    assert named.layer == 1
    with pytest.raises(IsoglossError, match=r"fitted on other;layer=2.*no layer of fake:.*--layer"):
        encode_model("fake:", items, like="other;layer=2;pool=mean", progress=False)


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("a;layer=1;pool=mean", "a;layer=1;pool=mean", True),
        ("a;layer=1", "a;layer=1;pool=mean", True),
        ("a;layer=1;pool=mean", "a;layer=1;pool=first", False),
        ("a;layer=1;pool=mean", "a;layer=2;pool=mean", False),
        ("a;pool=mean;center@1", "a;pool=mean", False),
    ],
)
def test_when_vectors_are_alike(first: str, second: str, alike: bool) -> None:
    assert model_vectors.made_alike(first, second) is alike
    assert model_vectors.made_alike(second, first) is alike
