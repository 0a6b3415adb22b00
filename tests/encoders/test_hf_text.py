"""Every architecture: the kit, one layer convention, masks, prompts, windows, the model's own."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from isogloss.encoders import check_encoder, load_encoder
from isogloss.encoders.hf_text import HfTextEncoder
from isogloss.errors import IsoglossError, TextError, UnknownName
from isogloss.types import Item

pytest.importorskip("transformers")

from text_checkpoints import ARCHITECTURES, LAYERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

torch.set_num_threads(1)

ITEMS = [Item(f"i{n}", "und", text=text) for n, text in enumerate(TEXTS[:5])]
ITEMS.append(Item("short", "und", text="a"))


@pytest.fixture(scope="module", autouse=True)
def _small_list_of_characters() -> Iterator[None]:
    """CANINE's tokenizer lists all million characters of Unicode, for seconds and for nothing."""
    from transformers import CanineTokenizer

    listed = {chr(code): code for code in (0, *range(0xE000, 0xE005))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CanineTokenizer, "get_vocab", lambda self: listed)
        yield


@pytest.fixture(scope="module")
def encoder(text_folder: Callable[[str], Path]) -> Callable[[str], HfTextEncoder]:
    known: dict[str, HfTextEncoder] = {}

    def load(name: str) -> HfTextEncoder:
        if name not in known:
            architecture, question, options = name.partition("?")
            found = load_encoder(f"hf:{text_folder(architecture)}{question}{options}")
            assert isinstance(found, HfTextEncoder)
            known[name] = found
        return known[name]

    return load


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_kit_passes_on_every_architecture(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    found = encoder(architecture)
    check_encoder(found, ITEMS[2:], text_lengths=(40, 250))
    assert found.layers == tuple(range(LAYERS + 2))
    for site in ("mlp", "attention"):
        other = found.with_site(site)
        assert other.layers == tuple(range(1, LAYERS + 1))
        steps = other.encode_layers(ITEMS[3:5])
        assert [one.made_by for one in steps] == [other.with_layer(i).made_by for i in (1, 2, 3)]
        width = {"mlp": 64 if architecture == "bloom" else 24, "attention": 16}[site]
        assert {one.values.shape[1] for one in steps} == {width}


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "canine"])
def test_layers_are_the_models_own_states(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    """What transformers itself returns, its special tokens taken out; the last is after a norm."""
    found = encoder(architecture)
    tokenizer = found.text_model.tokenizer
    for item in ITEMS[:2]:
        ids = tokenizer(item.text)["input_ids"]
        with torch.inference_mode():
            own = found.text_model.model(torch.tensor([ids]), output_hidden_states=True)
        special = set(tokenizer.all_special_ids) - {getattr(tokenizer, "unk_token_id", None)}
        special |= {ids[0]} if architecture == "m2m100" else set()
        rows = [row for row, number in enumerate(ids) if number not in special]
        layers = found.encode_layers([item])
        for layer in range(LAYERS):
            expected = own.hidden_states[layer][0, rows].numpy()
            np.testing.assert_allclose(layers[layer].values, expected, atol=2e-5)
        expected = own.last_hidden_state[0, rows].numpy()
        np.testing.assert_allclose(layers[-1].values, expected, atol=2e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "t5", "m2m100", "modernbert"])
def test_the_last_block_is_not_the_final_layer_where_a_norm_follows(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    layers = encoder(architecture).encode_layers(ITEMS[:1])
    assert np.abs(layers[LAYERS].values - layers[LAYERS + 1].values).max() > 0.01


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "distilbert", "luke", "electra"])
def test_the_last_block_is_the_final_layer_where_none_does(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    layers = encoder(architecture).encode_layers(ITEMS[:1])
    np.testing.assert_array_equal(layers[LAYERS].values, layers[LAYERS + 1].values)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "t5", "opt"])
def test_site_mlp_through_the_down_projection_is_what_the_block_adds(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    """The states of site mlp, projected by hand, are what the projection gave."""
    from isogloss.encoders.hf_blocks import site_point

    found = encoder(architecture).with_site("mlp").with_layer(2)
    point = site_point(found.blocks[1], "mlp")
    seen: list[torch.Tensor] = []
    hook = point.module.register_forward_hook(lambda m, a, output: seen.append(output))
    try:
        steps = found.encode(ITEMS[:1])
    finally:
        hook.remove()
    with torch.inference_mode():
        projected = point.module(torch.from_numpy(np.array(steps.values)))
    rows = seen[0].reshape(-1, 16)
    near = torch.cdist(projected, rows, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    assert float(near.values.max()) < 1e-5


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "canine"])
def test_padding_changes_nothing_and_a_real_token_does(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    found = encoder(architecture)
    assert found.text_model.pads
    ids = torch.tensor([[7, 8, 9, 10, 11, 12, 13, 14], [9, 8, 7, 13, 0, 0, 0, 0]])
    ids[1, 4:] = found.text_model.pad_id
    real = torch.tensor([[1] * 8, [1] * 4 + [0] * 4])
    for layer in (0, 2, LAYERS + 1):
        (before,) = found.states_of(ids, real, [layer])
        other = ids.clone()
        other[1, 4:] = torch.tensor([20, 21, 22, 23])
        (padded,) = found.states_of(other, real, [layer])
        torch.testing.assert_close(padded[1, :4], before[1, :4], atol=1e-5, rtol=0)
        other = ids.clone()
        other[1, 1] = 20
        (changed,) = found.states_of(other, real, [layer])
        assert float((changed[1, 1:4] - before[1, 1:4]).abs().max()) > 1e-3


def test_a_model_that_reads_padding_is_given_none(
    encoder: Callable[[str], HfTextEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = encoder("canine")
    assert not found.text_model.pads
    shapes = []
    whole = HfTextEncoder.states_of

    def watched(self: Any, ids: Any, is_real: Any, layers: Any) -> Any:
        shapes.append((tuple(ids.shape), int(is_real.sum())))
        return whole(self, ids, is_real, layers)

    monkeypatch.setattr(HfTextEncoder, "states_of", watched)
    texts = ["abcdefgh", "hgfedcba", "abcdefghij"]
    found.encode([Item(text, "und", text=text) for text in texts])
    assert shapes == [((2, 10), 20), ((1, 12), 12)]


def test_every_character_of_canine_has_the_step_of_its_molecule(
    encoder: Callable[[str], HfTextEncoder],
) -> None:
    layers = encoder("canine").encode_layers([Item("a", "und", text="abcdefghijk")])
    assert {len(one.values) for one in layers} == {11}
    # With the class token 13 tokens: rows of 4, the first of which has it and 'abc'.
    rows = layers[1].values
    np.testing.assert_array_equal(rows[0], rows[2])
    assert np.abs(rows[3] - rows[2]).max() > 1e-3
    np.testing.assert_array_equal(rows[3], rows[6])
    assert len(np.unique(layers[-1].values, axis=0)) == 11


def test_a_batch_is_cut_by_its_tokens(encoder: Callable[[str], HfTextEncoder]) -> None:
    small = replace(encoder("bert"), batch_tokens=40)
    sizes = []
    hook = small.text_model.model.register_forward_pre_hook(
        lambda module, arguments, keywords: sizes.append(tuple(keywords["input_ids"].shape)),
        with_kwargs=True,
    )
    try:
        found = small.encode(ITEMS)
    finally:
        hook.remove()
    assert all(rows * length <= 40 or rows == 1 for rows, length in sizes)
    assert len(sizes) > 2
    np.testing.assert_allclose(found.values, encoder("bert").encode(ITEMS).values, atol=1e-5)
    assert small.made_by == encoder("bert").made_by


@pytest.mark.parametrize("architecture", ["xlm-roberta", "llama", "t5", "m2m100", "canine"])
def test_a_prompt_is_read_and_gives_no_steps(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    plain, prompted = encoder(architecture), encoder(f"{architecture}?prompt=query: ")
    before, after = plain.encode(ITEMS), prompted.encode(ITEMS)
    # At the border alone a piece of white space may come or go.
    assert np.abs(after.lengths - before.lengths).max() <= 1
    assert np.abs(after[0][-1] - before[0][-1]).max() > 1e-3
    assert (after.item_words(0) == before.item_words(0)[-len(after[0]) :]).all()
    pooled = encoder(f"{architecture}?prompt=query: &pool_prompt=true").encode(ITEMS)
    for index in range(len(ITEMS)):
        extra = len(pooled[index]) - len(after[index])
        assert extra > 1
        np.testing.assert_allclose(pooled[index][extra:], after[index], atol=1e-5)
        assert (pooled.item_words(index)[:extra] == -1).all()


def test_a_prompt_in_a_name_may_hold_any_character(text_folder: Callable[[str], Path]) -> None:
    found = load_encoder(f"hf:{text_folder('bert')}?prompt=a=b%26c%3Fd 100%25: &site=mlp")
    assert isinstance(found, HfTextEncoder)
    assert (found.prompt, found.site) == ("a=b&c?d 100%: ", "mlp")


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "t5"])
def test_a_long_text_is_read_in_windows_that_share_a_quarter(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    found = encoder(f"{architecture}?max_tokens=20")
    text = " ".join(TEXTS[:2] * 3)
    long = found.encode([Item("long", "und", text=text)])
    whole = encoder(architecture).text_model.tokenizer(text, add_special_tokens=False)
    assert len(long.values) == len(whole["input_ids"])
    words = long.item_words(0)
    assert words is not None
    assert sorted(set(words[words >= 0].tolist())) == list(range(len(text.split())))
    # The first steps are those of the first window alone.
    tokenizer = found.text_model.tokenizer
    before = [tokenizer.cls_token_id] if architecture == "bert" else []
    behind = {"bert": [tokenizer.sep_token_id], "t5": [tokenizer.eos_token_id]}
    room = 20 - tokenizer.num_special_tokens_to_add()
    ids = torch.tensor([before + whole["input_ids"][:room] + behind.get(architecture, [])])
    (states,) = found.states_of(ids, torch.ones_like(ids), [LAYERS + 1])
    kept = room - room // 8 - 1
    start = 1 if architecture == "bert" else 0
    np.testing.assert_allclose(
        long.values[:kept], states[0, start : start + kept].numpy(), atol=1e-5
    )


def test_a_line_of_100_000_characters(encoder: Callable[[str], HfTextEncoder]) -> None:
    text = "ab " * 33_334
    found = encoder("gpt2").encode([Item("line", "und", text=text), ITEMS[0]])
    words = found.item_words(0)
    assert words is not None
    assert words.max() == 33_333
    assert np.isfinite(found.values).all()
    alone = encoder("gpt2").encode([ITEMS[0]])
    np.testing.assert_allclose(found[1], alone[0], atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "mluke", "canine", "byt5"])
def test_the_class_or_end_token_alone(
    architecture: str, encoder: Callable[[str], HfTextEncoder]
) -> None:
    token = "eos" if architecture == "byt5" else "cls"
    found = encoder(f"{architecture}?token={token}").encode(ITEMS)
    assert found.lengths.tolist() == [1] * len(ITEMS)
    assert set(found.words.tolist()) == {-1}  # type: ignore[union-attr]
    model = encoder(architecture).text_model
    ids = torch.tensor([model.tokenizer(ITEMS[0].text)["input_ids"]])
    with torch.inference_mode():
        own = model.model(ids).last_hidden_state[0, -1 if token == "eos" else 0]
    np.testing.assert_allclose(found[0][0], own.numpy(), atol=1e-5)


def test_steps_and_words_are_the_tokenizers(encoder: Callable[[str], HfTextEncoder]) -> None:
    """By hand: pieces of WordPiece, words by white space, each Han character its own."""
    item = Item("a", "und", text="fox  狐狸 dog.")
    found = encoder("bert")
    tokens = found.text_model.tokenizer.tokenize(item.text)
    words = found.encode([item]).item_words(0)
    assert words is not None
    assert len(words) == len(tokens)
    by_hand = {"fox": 0, "狐": 1, "狸": 2}
    assert [by_hand.get(token, 3) for token in tokens] == words.tolist()


def test_a_word_without_subwords_shifts_nothing(encoder: Callable[[str], HfTextEncoder]) -> None:
    # BERT's tokenizer drops control characters: the second word leaves nothing.
    plain = Item("a", "und", text="fox \u200b\x07 dog", words=("fox", "\u200b\x07", "dog"))
    words = encoder("bert").encode([plain]).item_words(0)
    assert words is not None
    assert set(words.tolist()) == {0, 2}
    other = encoder("bert").encode([Item("b", "und", text="fox dog")])
    np.testing.assert_array_equal(encoder("bert").encode([plain]).values, other.values)


def test_special_tokens_in_a_text_are_no_steps(encoder: Callable[[str], HfTextEncoder]) -> None:
    for architecture, name in itertools.product(("xlm-roberta", "t5"), ("</s>", "<pad>")):
        found = encoder(architecture).encode([Item("a", "und", text=f"fox {name} dog")])
        own = encoder(architecture).text_model.tokenizer(f"fox {name} dog")["input_ids"]
        special = set(encoder(architecture).text_model.tokenizer.all_special_ids) - {2, 3}
        special |= set(encoder(architecture).text_model.tokenizer("")["input_ids"])
        assert len(found.values) == sum(number not in special for number in own)
    with pytest.raises(TextError, match=r"item 'a': the tokenizer of xlm-roberta leaves nothing"):
        encoder("xlm-roberta").encode([Item("a", "und", text="</s>")])


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_an_item_without_text_is_named(
    text: str | None, encoder: Callable[[str], HfTextEncoder]
) -> None:
    with pytest.raises(TextError, match="item 'empty'"):
        encoder("bert").encode([ITEMS[0], Item("empty", "und", text=text)])
    with pytest.raises(ValueError, match="no item"):
        encoder("bert").encode([])


def test_a_transcript_stands_in_for_a_text(encoder: Callable[[str], HfTextEncoder]) -> None:
    spoken = Item("i0", "und", audio="/absent.wav", transcript=TEXTS[0])
    np.testing.assert_array_equal(
        encoder("bert").encode([spoken]).values, encoder("bert").encode(ITEMS[:1]).values
    )


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("bert?site=ffn", UnknownName, "unknown site 'ffn'"),
        ("bert?sight=mlp", UnknownName, "unknown option of 'hf:' 'sight'; did you mean site"),
        ("bert?site", ValueError, "'site' is no option; write KEY=VALUE"),
        ("bert?site=mlp&site=mlp", ValueError, "'site' comes twice"),
        ("bert?token=sep", UnknownName, "unknown token 'sep'"),
        ("gpt2?token=cls", ValueError, "gpt2 has no class token"),
        ("bert?max_tokens=65", ValueError, "max_tokens must be 4 to 64"),
        ("bert?max_tokens=many", ValueError, "max_tokens' must be a whole number"),
        ("bert?pool_prompt=true", ValueError, "there is none"),
        ("bert?pool_prompt=yes&prompt=a", ValueError, "must be true or false, got 'yes'"),
        ("bert?dtype=int8", ValueError, "dtype must be one of float32"),
        ("bert?language=deu_Latn", ValueError, "language 'deu_Latn' is none"),
        ("bert?batch_tokens=0", ValueError, "batch_tokens' must be a whole number from 1"),
    ],
)
def test_wrong_options_are_named(
    name: str, error: type[Exception], message: str, text_folder: Callable[[str], Path]
) -> None:
    architecture, _, options = name.partition("?")
    with pytest.raises(error, match=message.replace("?", r"\?")):
        load_encoder(f"hf:{text_folder(architecture)}?{options}")


def test_layers_and_windows_outside_are_named(encoder: Callable[[str], HfTextEncoder]) -> None:
    with pytest.raises(ValueError, match="layer must be one of 0 to 4 at site residual"):
        encoder("bert").with_layer(5)
    with pytest.raises(ValueError, match="layer must be one of 1 to 3 at site mlp"):
        encoder("bert").with_site("mlp").with_layer(0)
    long = Item("a", "und", text="fox " * 20)
    with pytest.raises(ValueError, match="leaves 0 for the text"):
        encoder("bert?max_tokens=6&prompt=query: where is it?").encode([long])


def test_options_change_the_name_and_the_steps(encoder: Callable[[str], HfTextEncoder]) -> None:
    """Every option of the values is in made_by, and does something."""
    names = [
        "bert",
        "bert?site=mlp",
        "bert?site=attention",
        "bert?token=cls",
        "bert?token=eos",
        "bert?prompt=a",
        "bert?prompt=a&pool_prompt=true",
        "bert?max_tokens=8",
        "bert?dtype=bfloat16",
    ]
    found = [encoder(name) for name in names]
    assert len({one.made_by for one in found}) == len(names)
    assert len({one.encode(ITEMS).values.tobytes() for one in found}) == len(names)


def test_a_language_is_read_before_the_text(
    encoder: Callable[[str], HfTextEncoder],
) -> None:
    english, german = encoder("nllb"), encoder("nllb?language=deu_Latn")
    assert english.made_by != german.made_by
    a, b = english.encode(ITEMS), german.encode(ITEMS)
    assert a.offsets.tolist() == b.offsets.tolist()
    assert np.abs(a.values - b.values).max() > 1e-3
    code = german.text_model.tokenizer.convert_tokens_to_ids("deu_Latn")
    assert german.text_model.tokenizer("fox")["input_ids"][0] == code
    m2m = encoder("m2m100?language=de")
    assert np.abs(m2m.encode(ITEMS).values - encoder("m2m100").encode(ITEMS).values).max() > 1e-3


def test_a_token_beyond_the_embeddings_is_named(
    encoder: Callable[[str], HfTextEncoder],
) -> None:
    found = encoder("bert")
    small = replace(found, text_model=replace(found.text_model, rows=10))
    with pytest.raises(IsoglossError, match=r"item 'i0': the tokenizer of bert gives token \d+"):
        small.encode(ITEMS)
