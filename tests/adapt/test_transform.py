from __future__ import annotations

import numpy as np
import pytest

from adapt_makers import made, meant
from isogloss.adapt import (
    FittedItems,
    NotInvertible,
    UnseenVariety,
    check_transform,
    make_transform,
    refuse_fitted,
    transform_names,
)
from isogloss.adapt.center import Center, Unit
from isogloss.adapt.check import check_transform as kit
from isogloss.adapt.transform import AffineTransform
from isogloss.errors import IsoglossError
from isogloss.types import Sequences, Transform, Vectors

VARIANTS = (
    "center:per=all",
    "center:unseen=pooled",
    "shift:target=aaa,source=bbb",
    "zca:per=variety,unseen=pooled",
    "zca:shrinkage=auto",
    "cbie:per=variety,clusters=2",
    "outliers:largest=2,per=variety",
    "abtt:remove=2,per=variety",
    "lstsq:intercept=false",
    "ridge:penalty=1,target=bbb",
    "procrustes:target=aaa,scale=true,unseen=pooled",
    "cca:rank=4",
    "lowrank:rank=3,penalty=0.1",
    "iterative:per=all",
    "subspace:how=nullspace",
    "subspace:center=true,rank=1",
    "lda:target=aaa,strength=0.5",
    "ot:how=quantiles,target=aaa",
    "unit+center+zca:eps=1e-3+procrustes:target=aaa",
)


@pytest.mark.parametrize("spec", [*transform_names(), *VARIANTS])
def test_every_transform_keeps_the_contract(spec: str) -> None:
    check_transform(spec)


@pytest.mark.parametrize("spec", [*transform_names(), "zca:per=variety", "lda:shrinkage=0.5"])
def test_fewer_items_than_dimensions_keep_the_contract(spec: str) -> None:
    check_transform(spec, meanings=8, dimensions=30)


def test_two_varieties_in_canonical_space_keep_the_contract() -> None:
    check_transform("cca:space=canonical,rank=3", varieties=("aaa", "bbb"))


def test_a_transform_is_what_the_protocol_says() -> None:
    one: Transform = Center()
    data = made({"a": meant(), "b": meant() + 1})
    found = one.fit(data.vectors, varieties=data.varieties).transform(
        data.vectors, varieties=data.varieties
    )
    assert found.ids == data.vectors.ids


class _Peeking(AffineTransform):
    name = "center"

    def maps(self, rows):  # type: ignore[no-untyped-def]
        return Center().maps(rows)

    def change(self, rows, variety):  # type: ignore[no-untyped-def]
        return rows - rows.mean(axis=0)


class _Forgetful(Unit):
    def change(self, rows, variety):  # type: ignore[no-untyped-def]
        self.scale = getattr(self, "scale", 0) + 1.0
        return rows * self.scale


@pytest.mark.parametrize(
    ("broken", "said"),
    [(_Peeking(), "alone differs from the batch"), (_Forgetful(), "second call")],
)
def test_the_kit_finds_what_is_wrong(broken: AffineTransform, said: str) -> None:
    with pytest.raises((ValueError, IsoglossError), match=said):
        kit(broken)


def test_steps_are_changed_by_the_variety_of_their_item() -> None:
    data = made({"a": meant(3, 2), "b": meant(3, 2) + 5})
    center = Center().fit(data.vectors, varieties=data.varieties)
    steps = Sequences.from_list(
        ["x", "y"],
        [np.zeros((2, 2), np.float32), np.zeros((3, 2), np.float32)],
        step_seconds=0.04,
        words=[np.array([0, -1]), np.array([0, 0, 1])],
    )
    found = center.transform(steps, varieties=["a", "b"])
    np.testing.assert_allclose(found[0], -np.tile(data.of("a").mean(axis=0), (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(found[1], -np.tile(data.of("b").mean(axis=0), (3, 1)), rtol=1e-6)
    assert found.step_seconds == 0.04
    assert found.words is not None
    assert found.words.tolist() == [0, -1, 0, 0, 1]


def test_fitted_on_steps_every_step_counts() -> None:
    steps = Sequences.from_list(
        ["x", "y"], [np.zeros((1, 1), np.float32), np.full((3, 1), 4, np.float32)]
    )
    center = Center().fit(steps, varieties=["a", "a"])
    assert center.maps_["a"].before == pytest.approx([3.0])
    assert center.fitted_ is not None
    assert center.fitted_.ids == {"x", "y"}
    assert center.fitted_.varieties == {"a": 4}


def test_maps_fitted_on_steps_pair_the_means_of_items() -> None:
    rows, other = meant(20, 3), meant(20, 3)[:, ::-1]
    steps = Sequences.from_list(
        [f"{v}{i}" for v in "ab" for i in range(20)],
        [np.stack([row - 1, row + 1]).astype(np.float32) for side in (rows, other) for row in side],
    )
    told = {"varieties": ["a"] * 20 + ["b"] * 20, "meanings": [f"m{i}" for i in range(20)] * 2}
    one = make_transform("procrustes:target=b,center=false").fit(steps, **told)
    np.testing.assert_allclose(one.maps_["a"].matrix, np.eye(3)[::-1], atol=1e-6)


def test_what_was_fitted_on_is_not_judged() -> None:
    data = made({"a": meant(4, 2), "b": meant(4, 2)})
    center = Center().fit(data.vectors, varieties=data.varieties, meanings=data.meanings)
    with pytest.raises(FittedItems, match=r"2 of 3 items to judge were fitted on, first 'a-1'"):
        refuse_fitted(center, ["new", "a-1", "b-3"])
    with pytest.raises(FittedItems, match=r"1 of 2 meanings to judge were fitted on.*'m2'"):
        center.refuse_fitted(["new", "newer"], ["m2", "m9"])
    center.refuse_fitted(["new"], [None])


@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        ("center", "it too, or choose unseen=pooled or unseen=keep"),
        ("iterative", "it too, or choose unseen=pooled or unseen=keep"),
        ("lda", "it too, or choose unseen=keep"),
        ("ot", "it too, or choose unseen=keep"),
        ("ot:target=aaa", "it too, or choose unseen=pooled or unseen=keep"),
        ("cca:space=canonical", "it too"),
    ],
)
def test_the_error_about_a_variety_names_only_ways_that_there_are(spec: str, advice: str) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    ids, names = tuple(map(str, range(20))), ["aaa", "bbb"] * 10
    one = make_transform(spec).fit(
        Vectors(ids, rows), varieties=names, meanings=[f"m{i // 2}" for i in range(20)]
    )
    with pytest.raises(UnseenVariety, match=f"{advice}$"):
        one.transform(Vectors(("x",), rows[:1]), varieties=["zzz"])


def test_an_unseen_variety_is_an_error_or_falls_back_as_asked() -> None:
    data = made({"a": meant(4, 2), "b": meant(4, 2) + 3})
    new = Vectors(("n",), np.zeros((1, 2), np.float32))

    def changed(spec: str) -> np.ndarray:  # type: ignore[type-arg]
        one = make_transform(spec).fit(
            data.vectors, varieties=data.varieties, meanings=data.meanings
        )
        return one.transform(new, varieties=["c"]).values[0]

    with pytest.raises(UnseenVariety, match=r"'center' was fitted on a, b, and not on variety 'c'"):
        changed("center")
    overall = data.vectors.values.mean(axis=0)
    np.testing.assert_allclose(changed("center:unseen=pooled"), -overall, rtol=1e-5)
    np.testing.assert_array_equal(changed("center:unseen=keep"), [0, 0])
    np.testing.assert_allclose(changed("center:per=all"), -overall, rtol=1e-5)
    with pytest.raises(ValueError, match="changes nothing with per=all"):
        make_transform("center:per=all,unseen=keep")
    for spec in ("procrustes", "cbie:per=variety,clusters=1", "iterative", "ot:target=a"):
        with pytest.raises(UnseenVariety, match="variety 'c'"):
            changed(spec)


def test_bad_input_is_named() -> None:
    data = made({"a": meant(4, 3)})
    center = Center()
    with pytest.raises(IsoglossError, match="not fitted"):
        center.transform(data.vectors, varieties=data.varieties)
    broken = data.vectors.values.copy()
    broken[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"item 'a-2' holds NaN"):
        center.fit(Vectors(data.vectors.ids, broken), varieties=data.varieties)
    with pytest.raises(ValueError, match=r"4 items need 4 varieties, got 3"):
        center.fit(data.vectors, varieties=data.varieties[:3])
    with pytest.raises(ValueError, match=r"one name 'aaaa'"):
        center.fit(data.vectors, varieties="aaaa")
    with pytest.raises(ValueError, match="nothing to fit on"):
        center.fit(Vectors((), np.zeros((0, 3), np.float32)), varieties=[])
    with pytest.raises(ValueError, match=r"'\*' stands for all varieties"):
        center.fit(data.vectors, varieties=["*"] * 4)
    center.fit(data.vectors, varieties=data.varieties)
    with pytest.raises(ValueError, match="takes 3 dimensions, the vectors have 2"):
        center.transform(Vectors(("x",), np.zeros((1, 2), np.float32)), varieties=["a"])


def test_a_result_beyond_float32_is_an_error() -> None:
    data = made({"a": np.array([[1e-30], [2e-30]]), "b": np.array([[1e30], [3e38]])})
    one = make_transform("ot:target=b").fit(data.vectors, varieties=data.varieties)
    far = Vectors(("far",), np.full((1, 1), 1e10, np.float32))
    with pytest.raises(ValueError, match="'far' holds NaN or infinity"):
        one.transform(far, varieties=["a"])


def test_no_inverse_says_why() -> None:
    data = made({"a": meant(), "b": meant()})
    told = {"varieties": data.varieties, "meanings": data.meanings}
    for spec, why in (
        ("unit", "no inverse"),
        ("outliers:largest=1", "1 dimensions were set to 0"),
        ("abtt", "singular values"),
        ("center+abtt", "singular values"),
    ):
        one = make_transform(spec).fit(data.vectors, **told)
        with pytest.raises(NotInvertible, match=why):
            one.inverse(data.vectors, varieties=data.varieties)


def test_no_item_to_transform_is_no_error() -> None:
    data = made({"a": meant(4, 3)})
    one = make_transform("zca:shrinkage=0.1").fit(data.vectors, varieties=data.varieties)
    none = one.transform(Vectors((), np.zeros((0, 3), np.float32)), varieties=[])
    assert none.values.shape == (0, 3)
