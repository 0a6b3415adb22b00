"""Specs, chains, saving and loading."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adapt_makers import made, meant, turned
from isogloss.adapt import Chain, load_transform, make_transform, save_transform, split_specs
from isogloss.adapt import registry as registry_module
from isogloss.adapt.center import Center, Unit
from isogloss.adapt.transform import AffineTransform
from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "spec",
    [
        "center",
        "zca:per=variety,eps=0.001",
        "center+zca:shrinkage=auto+procrustes:target=sr@latin,scale=true",
        "outliers:largest=3",
        "subspace:how=nullspace,rank=4",
        "ridge:penalty=1e+25",
    ],
)
def test_a_spec_comes_back_as_it_was(spec: str) -> None:
    one = make_transform(spec)
    assert one.spec == spec
    assert make_transform(one.spec) == one


def test_numbers_with_a_plus_do_not_end_a_part() -> None:
    one = make_transform("center + ridge:penalty=1e+2 + unit")
    assert isinstance(one, Chain)
    assert one.spec == "center+ridge:penalty=100.0+unit"


def test_wrong_specs_are_named() -> None:
    with pytest.raises(UnknownName, match="did you mean procrustes"):
        make_transform("procrustos")
    with pytest.raises(UnknownName, match=r"option of transform 'zca' 'epsilon'"):
        make_transform("zca:epsilon=1")
    with pytest.raises(ValueError, match="'per' has no value"):
        make_transform("zca:per")
    with pytest.raises(ValueError, match=r"eps: 'small' is no float"):
        make_transform("zca:eps=small")
    with pytest.raises(ValueError, match=r"rank: 'x' is no int or none"):
        make_transform("subspace:rank=x")
    with pytest.raises(ValueError, match="per must be one of all, variety, got 'item'"):
        make_transform("center:per=item")
    with pytest.raises(ValueError, match="empty transform"):
        make_transform("")
    assert make_transform("cca:rank=none").rank is None


def test_a_list_of_specs_keeps_options_together() -> None:
    assert split_specs(
        "center, zca:eps=1,shrinkage=.1,center+zca:per=variety,unseen=keep,unit"
    ) == [
        "center",
        "zca:eps=1,shrinkage=.1",
        "center+zca:per=variety,unseen=keep",
        "unit",
    ]
    with pytest.raises(ValueError, match="an option without a transform"):
        split_specs("eps=1,zca")
    with pytest.raises(ValueError, match="an empty transform"):
        split_specs("zca,,unit")


class Doubled(AffineTransform):
    name = "doubled"

    def maps(self, rows):  # type: ignore[no-untyped-def]
        from isogloss.adapt.affine import Affine

        return {"*": Affine(scale=np.full(rows.dimensions, 2.0))}


def test_third_parties_add_transforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    points = {
        "doubled": EntryPoint("doubled", f"{__name__}:Doubled", "isogloss.transforms"),
        "absent": EntryPoint("absent", "no_such_module:X", "isogloss.transforms"),
        "wrong": EntryPoint("wrong", "json:dumps", "isogloss.transforms"),
    }
    monkeypatch.setattr(EntryPoint, "load", lambda self: _load(self))
    monkeypatch.setattr(registry_module, "_others", lambda: points)
    registry_module.make_transform("center+doubled")
    data = made({"a": meant(9, 3)})
    one = make_transform("doubled").fit(data.vectors, varieties=data.varieties)
    one.save(tmp_path)
    found = load_transform(tmp_path).transform(data.vectors, varieties=data.varieties)
    np.testing.assert_array_equal(found.values, 2 * data.vectors.values)
    with pytest.raises(IsoglossError, match="cannot be imported"):
        make_transform("absent")
    with pytest.raises(IsoglossError, match="is no class that inherits"):
        make_transform("wrong")


def _load(point: EntryPoint) -> object:
    import importlib

    if point.name == "doubled":
        return Doubled
    return getattr(importlib.import_module(point.module), point.attr)


def test_a_chain_is_its_parts_in_turn() -> None:
    data = made({"a": meant() + 2, "b": meant() @ turned() - 1})
    told = {"varieties": data.varieties, "meanings": data.meanings}
    chain = make_transform("center+zca+procrustes:target=a").fit(data.vectors, **told)
    vectors = data.vectors
    for spec in ("center", "zca", "procrustes:target=a"):
        vectors = (
            make_transform(spec).fit(vectors, **told).transform(vectors, varieties=data.varieties)
        )
    found = chain.transform(data.vectors, varieties=data.varieties)
    np.testing.assert_allclose(found.values, vectors.values, atol=1e-4)
    back = chain.inverse(found, varieties=data.varieties)
    np.testing.assert_allclose(back.values, data.vectors.values, atol=1e-4)
    assert chain.parameters == sum(part.parameters for part in chain.parts)


def test_a_chain_of_chains_is_one_chain() -> None:
    inner = Chain(parts=(Center(), Unit()))
    assert Chain(parts=(inner, Unit())).spec == "center+unit+unit"
    with pytest.raises(ValueError, match="at least two parts"):
        Chain(parts=(Center(),))
    same = Center()
    with pytest.raises(ValueError, match="stands twice"):
        Chain(parts=(same, same))


def test_a_chain_may_change_the_number_of_dimensions(tmp_path: Path) -> None:
    data = made({"a": meant(), "b": meant() @ turned()})
    told = {"varieties": data.varieties, "meanings": data.meanings}
    chain = make_transform("center+cca:space=canonical,rank=3+unit").fit(data.vectors, **told)
    found = chain.transform(data.vectors, varieties=data.varieties).values
    assert found.shape == (120, 3)
    save_transform(chain, tmp_path)
    again = load_transform(tmp_path).transform(data.vectors, varieties=data.varieties)
    np.testing.assert_array_equal(again.values, found)


def _saved(folder: Path) -> Path:
    data = made({"a": meant(9, 3), "mean/b": meant(9, 3) + 1})
    make_transform("shift").fit(
        data.vectors, varieties=data.varieties, meanings=data.meanings
    ).save(folder)
    return folder


def test_what_was_fitted_on_survives_the_disk(tmp_path: Path) -> None:
    one = load_transform(_saved(tmp_path / "t"))
    assert one.fitted_ is not None
    assert "mean/b-3" in one.fitted_.ids
    assert one.fitted_.meanings == {f"m{i}" for i in range(9)}
    assert one.fitted_.made_by == "made"
    assert sorted(one.means_) == ["a", "mean/b"]
    assert {path.name for path in (tmp_path / "t").iterdir()} == {
        "transform.json",
        "transform.safetensors",
    }


def test_damage_is_told(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "t")
    path = folder / "transform.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IsoglossError, match="is damaged: its checksum is"):
        load_transform(folder)
    path.unlink()
    with pytest.raises(IsoglossError, match=r"safetensors is missing"):
        load_transform(folder)
    path.write_bytes(whole)
    told = json.loads((folder / "transform.json").read_text())
    for change, said in (
        ({"version": 9}, "is of version 9, this program reads 1"),
        ({"format": "x"}, "describes no transform"),
        ({"learnt": {}}, "does not hold a transform that can be read"),
        ({"spec": "nonsense"}, "unknown transform"),
    ):
        (folder / "transform.json").write_text(json.dumps({**told, **change}))
        with pytest.raises(IsoglossError, match=said):
            load_transform(folder)
    (folder / "transform.json").write_text("{")
    with pytest.raises(IsoglossError, match="fit the transform again"):
        load_transform(folder)
    with pytest.raises(IsoglossError, match="name a folder that isogloss adapt fit wrote"):
        load_transform(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(IsoglossError, match="is a file"):
        _saved(file)
    with pytest.raises(IsoglossError, match="not fitted"):
        Center().save(tmp_path / "new")
