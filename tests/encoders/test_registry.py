"""Names with options: taken apart, put together again, and refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.encoders import load_encoder, registry
from isogloss.encoders.registry import EncoderName, reads_text
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mel:", ("mel", "", {})),
        ("own:runs/a", ("own", "runs/a", {})),
        ("random:tiny:3", ("random", "tiny:3", {})),
        ("hf:a/b@main?site=mlp", ("hf", "a/b@main", {"site": "mlp"})),
        ("hf:a?prompt=query: &x=", ("hf", "a", {"prompt": "query: ", "x": ""})),
        ("hf:a?prompt=a=b?c%26d%25", ("hf", "a", {"prompt": "a=b?c&d%"})),
        ("hf:a?prompt=100 %", ("hf", "a", {"prompt": "100 %"})),
    ],
)
def test_names_by_hand(name: str, parts: tuple[str, str, dict[str, str]]) -> None:
    found = EncoderName.of(name)
    assert (found.kind, found.argument, found.options) == parts


@given(
    st.dictionaries(
        st.text(alphabet="abc_", min_size=1), st.text(alphabet="ab%&?=26 :\u4e00", max_size=12)
    )
)
def test_a_name_put_together_says_the_same(options: dict[str, str]) -> None:
    name = EncoderName("hf", "models/x", options)
    assert EncoderName.of(str(name)) == name


def test_a_file_with_a_question_mark_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "what?=x"
    path.write_text("")
    assert EncoderName.of(f"onnx:{path}") == EncoderName("onnx", str(path))


def test_options_of_encoders_that_have_none() -> None:
    with pytest.raises(UnknownName, match="unknown option of 'mel:' 'site'; there are none"):
        load_encoder("mel:?site=mlp")
    with pytest.raises(UnknownName, match="option of 'mel:' 'layer'"):
        load_encoder("mel:?layer=0")


def test_options_of_another_packages_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        value = "other:load"

        @staticmethod
        def load() -> object:
            return other

    def other(argument: str, *, layer: object, device: str, size: str = "1") -> object:
        return (argument, layer, device, size)

    monkeypatch.setattr(registry, "_others", lambda: {"other": Point()})
    assert load_encoder("other:x?size=7", layer=2) == ("x", 2, "cpu", "7")
    assert not reads_text("other:x")
    other.takes_text = True  # type: ignore[attr-defined]
    assert reads_text("other:x?size=7")
    with pytest.raises(UnknownName, match="did you mean size"):
        load_encoder("other:x?sise=7")


def test_who_reads() -> None:
    assert [reads_text(name) for name in ("ngram:", "st:x", "mel:", "random:tiny")] == [
        *(True, True, False, False)
    ]
    with pytest.raises(UnknownName, match="unknown encoder 'hff'"):
        reads_text("hff:x")
