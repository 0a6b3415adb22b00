from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.encoders import check_encoder, load_encoder
from isogloss.encoders.entity_table import read_entity_table
from isogloss.errors import IsoglossError, TextError, UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "Peking\ten:Beijing\n北京\ten:Beijing\nNew York\ten:New_York_City\nYork\ten:York\n"
ITEMS = [
    Item("a", "deu", text="Ich war in Peking und New York."),
    Item("b", "cmn", text="我在北京。"),
    Item("c", "deu", text="Hier ist nichts"),
    Item("d", "deu", text="Pekinger Ente, York " * 30),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.tsv"
    path.write_text(f"# names\n\n{TABLE}", encoding="utf-8")
    return path


def test_the_longest_name_at_the_bounds_of_words_is_found(table: Path) -> None:
    entities = read_entity_table(table)

    def found(text: str) -> list[tuple[str, str]]:
        return [(text[m.first : m.last], m.entity) for m in entities.mentions(text)]

    assert found("In New York, York.") == [("New York", "en:New_York_City"), ("York", "en:York")]
    assert found("Pekinger Yorker aNew York") == [("York", "en:York")]
    assert found("我在北京市") == [("北京", "en:Beijing")]
    assert found("NEW YORK") == []
    assert found("York\u0301") == []
    folded = read_entity_table(table, fold=True)
    assert [m.entity for m in folded.mentions("NEW YORK peking")] == [
        "en:New_York_City",
        "en:Beijing",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Peking\n", ":1:entity: expected NAME<tab>ENTITY"),
        (b"a\tb\n\tc\n", ":2:name: expected"),
        (b"a\t \n", ":1:entity"),
        (b"# nothing\n", "there is no entity"),
        (b"M\xfcnchen\ten:Munich\n", "byte 1 is not UTF-8"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(content)
    with pytest.raises(IsoglossError, match=message):
        read_entity_table(path)


def test_a_name_with_two_entities_keeps_the_first(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("Paris\tA\tnote\nParis\tB\nParis\tA\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 names come again"):
        entities = read_entity_table(path)
    assert entities.mentions("Paris")[0].entity == "A"
    with pytest.raises(IsoglossError, match="cannot be read"):
        read_entity_table(tmp_path / "nowhere.tsv")


def test_other_encoders_read_the_names_behind_the_text(table: Path) -> None:
    encoder = load_encoder(f"entity:ngram:?table={table}&dimension=512")
    plain = load_encoder("ngram:?dimension=512")
    check_encoder(encoder, ITEMS)
    named = Item("n", "deu", text=f"{ITEMS[0].text} en:Beijing en:New York City")
    np.testing.assert_array_equal(encoder.encode(ITEMS[:1]).values, plain.encode([named]).values)
    np.testing.assert_array_equal(
        encoder.encode(ITEMS[2:3]).values, plain.encode(ITEMS[2:3]).values
    )
    # What both name brings translations together.
    one, two = encoder.encode(ITEMS[:2]).values
    before = plain.encode(ITEMS[:2]).values
    assert one @ two > before[0] @ before[1] + 0.2
    assert encoder.made_by != plain.made_by


def test_added_words_belong_to_no_word_of_the_item(table: Path) -> None:
    encoder = load_encoder(f"entity:hash:?table={table}&dimension=8&buckets=100")
    item = Item("w", "cmn", text="我在北京", words=("我", "在", "北京"))
    for one, count in ((item, 3), (ITEMS[1], 5)):
        words = encoder.encode([one]).item_words(0)
        assert words[words >= 0].tolist() == list(range(count))
        assert (words == -1).sum() >= 1


def test_names_and_options_are_checked(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs an encoder"):
        load_encoder("entity:")
    with pytest.raises(ValueError, match="needs a table of names"):
        load_encoder("entity:ngram:")
    with pytest.raises(UnknownName, match="case"):
        load_encoder(f"entity:ngram:?table={table}&case=lower")
    with pytest.raises(UnknownName, match="option of 'ngram:' 'depth'"):
        load_encoder(f"entity:ngram:?table={table}&depth=3")
    with pytest.raises(UnknownName, match="without LUKE"):
        load_encoder(f"entity:ngram:?table={table}&steps=text")
    with pytest.raises(IsoglossError, match="reads no text"):
        load_encoder(f"entity:mel:?table={table}")
    with pytest.raises(IsoglossError):
        load_encoder(f"entity:{tmp_path / 'nowhere'}?table={table}")
    with pytest.raises(TextError, match="item 'x'"):
        load_encoder(f"entity:ngram:?table={table}").encode([Item("x", "deu", text=" ")])


@pytest.fixture(scope="module", params=["luke", "mluke"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    import text_checkpoints

    folder = tmp_path_factory.mktemp(request.param)
    texts = [*text_checkpoints.TEXTS, *(item.text or "" for item in ITEMS)]
    text_checkpoints.make(request.param, folder, texts=texts)
    path = next(folder.glob("entity_vocab*.json"), None)
    if path is not None:
        known = json.loads(path.read_text(encoding="utf-8"))
        known |= {"en:Beijing": 5, "en:York": 6}
        path.write_text(json.dumps(known), encoding="utf-8")
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    if isinstance(values.get("entity_vocab"), dict):
        values["entity_vocab"] |= {"en:Beijing": 5, "en:York": 6}
        config.write_text(json.dumps(values), encoding="utf-8")
    return folder


def loaded(checkpoint: Path, table: Path, **options: str) -> Any:
    given = "".join(f"&{key}={value}" for key, value in options.items())
    with pytest.warns(UserWarning, match="1 of the table's entities are not in the checkpoint"):
        return load_encoder(f"entity:{checkpoint}?table={table}{given}")


def test_luke_keeps_the_contract(checkpoint: Path, table: Path) -> None:
    for steps in ("all", "text", "entity"):
        encoder = loaded(checkpoint, table, steps=steps)
        check_encoder(encoder, ITEMS)
    assert encoder.layers == (0, 1, 2, 3, 4)


def test_luke_has_a_step_for_each_entity_that_it_knows(checkpoint: Path, table: Path) -> None:
    every, text, entity = (
        loaded(checkpoint, table, steps=steps).encode(ITEMS) for steps in ("all", "text", "entity")
    )
    # Peking; 北京; nothing, so its tokens stay; thirty times York.
    assert (every.lengths - text.lengths).tolist() == [1, 1, 0, 30]
    assert entity.lengths.tolist() == [1, 1, text.lengths[2], 30]
    for index in (0, 1, 3):
        joined = np.concatenate([text[index], entity[index]])
        np.testing.assert_allclose(every[index], joined, atol=1e-6)
        assert (entity.item_words(index) == -1).all()
    np.testing.assert_array_equal(every.item_words(2), text.item_words(2))


def test_luke_sees_what_its_own_tokenizer_would_give_it(checkpoint: Path, table: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    text = ITEMS[0].text or ""
    first = text.index("Peking")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModel.from_pretrained(checkpoint).eval()
    try:
        inputs = tokenizer(
            text, entity_spans=[(first, first + 6)], entities=["en:Beijing"], return_tensors="pt"
        )
    except (NotImplementedError, TypeError, AttributeError) as error:
        pytest.skip(f"this tokenizer takes no entities: {error}")
    with torch.no_grad():
        peer = model(**inputs)
    found = loaded(checkpoint, table, steps="entity").encode(ITEMS[:1])
    np.testing.assert_allclose(
        found.values[0], peer.entity_last_hidden_state[0, 0].numpy(), atol=1e-5
    )


def test_entities_change_the_states_of_tokens(
    checkpoint: Path, table: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("Peking\t4\nPeking\ten:York\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 names come again"):
        by_number = load_encoder(f"entity:{checkpoint}?table={other}&steps=text")
    by_title = loaded(checkpoint, table, steps="text")
    plain = load_encoder(f"hf:{checkpoint}")
    one, two, three = (encoder.encode(ITEMS[:1]).values for encoder in (by_number, by_title, plain))
    assert np.abs(one - two).max() > 1e-4
    assert np.abs(two - three).max() > 1e-4
    np.testing.assert_allclose(
        by_title.encode(ITEMS[2:3]).values, plain.encode(ITEMS[2:3]).values, atol=1e-5
    )


def test_luke_needs_entities_that_it_knows(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("Peking\ten:Nowhere\nYork\t99\n", encoding="utf-8")
    with pytest.raises(IsoglossError, match="has none of the table's 2 entities"):
        load_encoder(f"entity:hf:{checkpoint}?table={path}")
    with pytest.raises(UnknownName, match="with LUKE"):
        load_encoder(f"entity:{checkpoint}?table={path}&site=mlp")
    path.write_text("Peking\ten:Beijing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="layers 0 to 4, got 9"):
        load_encoder(f"entity:{checkpoint}?table={path}", layer=9)
