"""Rebuilt models: what is shared is kept exactly, marks of word starts are understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import text_checkpoints
from isogloss.adapt.vocabulary import compare_vocabularies, extend, rebuild
from isogloss.adapt.vocabulary_inits import INITS
from isogloss.adapt.vocabulary_pieces import pieces_of
from isogloss.encoders.registry import load_encoder
from isogloss.errors import IsoglossError
from isogloss.llm import CausalModel, load_causal
from isogloss.llm.hf_files import load_model, load_tokenizer, save_model
from isogloss.llm.new_tokenizer import train_tokenizer
from isogloss.types import Item
from llm_makers import make_causal

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "the quick dog jumps over the brown fox",
    "der braune Hund springt über den Fuchs",
] * 3


def metaspace(*pieces: str) -> Any:
    """A tokenizer of SentencePiece's manner that knows `pieces` and every byte."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    tokenizer = Tokenizer(
        models.Unigram([(name, -1.0 - (len(name) < 3)) for name in names], unk_id=0)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def byte_level(*words: str) -> Any:
    """A byte-level tokenizer with tokens for `words` as GPT-2 writes them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|endoftext|>", *alphabet]
    merges: list[tuple[str, str]] = []
    for word in words:
        for size in range(2, len(word) + 1):
            if word[:size] not in names:
                merges.append((word[: size - 1], word[size - 1]))
                names.append(word[:size])
    tokenizer = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def word_piece(*pieces: str) -> Any:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]
    tokenizer = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def test_three_ways_to_mark_a_word_start_say_the_same() -> None:
    a = pieces_of(metaspace("▁the", "the", "_the", "▁über"))
    b = pieces_of(byte_level("Ġthe", "the", "_the", "ĠÃ¼ber"))
    c = pieces_of(word_piece("the", "##the", "über", "_", ","))
    assert (a.marks, b.marks, c.marks) == ("metaspace", "byte-level", "wordpiece")
    for pieces in (a, b, c):
        assert b" the" in pieces.by_key
        assert b"the" in pieces.by_key
        assert " über".encode() in pieces.by_key
    # The underscore is a character, and no mark.
    assert a.keys[a.by_key[b"_the"]] == b"_the"
    assert a.by_key[b" the"] != a.by_key[b"_the"] != b.by_key[b"_the"] != b.by_key[b" the"]
    # A comma behind a word: WordPiece cannot say so.
    assert c.find(b",") == c.find(b" ,") is not None
    assert a.find(b"\xc3") is not None  # a byte


@pytest.mark.parametrize(
    ("old", "key", "expected"),
    [
        (metaspace("▁", "▁the", "the", "re"), b" there", ["▁the", "re"]),
        (metaspace("▁", "▁the", "the", "re"), b"there", ["the", "re"]),
        (byte_level("Ġthe", "the", "re"), b" there", ["Ġthe", "re"]),
        (byte_level("Ġthe", "the", "re"), b"there", ["the", "re"]),
        (word_piece("the", "##the", "##re"), b" there", ["the", "##re"]),
        (word_piece("the", "##the", "##re"), b"there", ["##the", "##re"]),
        (word_piece("the", "##the", "##re"), b"thexre", []),
        (metaspace("▁the"), b"\xc3", ["<0xC3>"]),
        (byte_level("Ġthe"), b"\xc3", ["Ã"]),
        (word_piece("the"), b"\xc3", []),
    ],
)
def test_a_piece_splits_as_the_old_tokenizer_would_have_it(
    old: Any, key: bytes, expected: list[str]
) -> None:
    assert old.convert_ids_to_tokens(pieces_of(old).split(key)) == expected


def test_special_tokens_correspond_by_role_and_letters_by_case() -> None:
    old, new = pieces_of(byte_level("Ġthe", "ĠFox")), pieces_of(metaspace("▁the", "▁fox", "▁dog"))
    known = compare_vocabularies(old, new)
    names = new.tokenizer.convert_tokens_to_ids
    assert known.shared[names("</s>")] == 0  # end of text
    assert known.shared[names("<s>")] == 0  # there is no other start
    assert known.shared[names("▁the")] == old.by_key[b" the"]
    assert known.similar[names("▁fox")] == old.by_key[b" Fox"]
    assert names("▁dog") not in known.shared
    assert len(known.split[names("▁dog")]) == 4


@pytest.mark.parametrize("init", [name for name in INITS if name != "random"])
@pytest.mark.parametrize("tied", [True, False])
def test_with_the_same_tokenizer_logits_are_identical(
    tmp_path: Path, init: str, tied: bool
) -> None:
    torch.set_num_threads(1)
    make_causal("llama", tmp_path / "m", tie_word_embeddings=tied)
    model = load_causal(tmp_path / "m")
    made = rebuild(
        model.model, model.tokenizer, model.tokenizer, init=init, helper=model.model, texts=TEXTS
    )
    assert made.has_head is not tied
    assert made.counts["copied"] == len(model.tokenizer)
    ids = torch.tensor([model.token_ids(TEXTS[0])])
    with torch.inference_mode():
        torch.testing.assert_close(made.model(ids).logits, model.model(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "gpt2"])
def test_other_architectures_keep_identical_outputs(tmp_path: Path, name: str) -> None:
    text_checkpoints.make(name, tmp_path / "m")
    model, tokenizer = load_model(tmp_path / "m"), load_tokenizer(tmp_path / "m")
    made = rebuild(model, tokenizer, tokenizer, init="fvt")
    ids = torch.tensor([tokenizer("The quick brown fox")["input_ids"]])
    with torch.inference_mode():
        a, b = made.model(ids).last_hidden_state, model(ids).last_hidden_state
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_bias_of_a_masked_models_head_goes_along(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    text_checkpoints.make("bert", tmp_path / "body")
    tokenizer = load_tokenizer(tmp_path / "body")
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig.from_pretrained(tmp_path / "body")).eval()
    with torch.no_grad():
        model.cls.predictions.bias.normal_()
    new = train_tokenizer(TEXTS, 300)
    made = rebuild(model, tokenizer, new, init="fvt")
    assert made.model.get_output_embeddings().bias.shape == (len(new),)
    known = compare_vocabularies(pieces_of(tokenizer), pieces_of(new))
    token, same = next((a, b) for a, b in known.shared.items() if b > 5)
    bias = made.model.get_output_embeddings().bias.detach()
    assert float(bias[token]) == float(model.cls.predictions.bias.detach()[same])
    again = rebuild(model, tokenizer, tokenizer, init="copy").model
    ids = torch.tensor([tokenizer("The quick brown fox")["input_ids"]])
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "init"), [*(("bpe", init) for init in INITS), ("unigram", "fvt"), ("unigram", "sava")]
)
def test_a_new_tokenizer_is_written_and_read_again(tmp_path: Path, kind: Any, init: str) -> None:
    torch.set_num_threads(1)
    make_causal("llama", tmp_path / "m")
    old = load_causal(tmp_path / "m")
    new = train_tokenizer(TEXTS, 290, kind=kind)
    make_causal("llama", tmp_path / "h", vocab_size=len(new), hidden_size=16)
    helper = load_model(tmp_path / "h")
    made = rebuild(old.model, old.tokenizer, new, init=init, helper=helper, texts=TEXTS)
    assert sum(made.counts.values()) == len(new)
    save_model(made.model, made.tokenizer, tmp_path / "new")
    read = load_causal(tmp_path / "new")
    assert read.model.config.vocab_size == len(new)
    assert read.model.config.eos_token_id == new.eos_token_id
    assert np.isfinite(read.bits_per_character(TEXTS[:1]))
    same = CausalModel(made.model, made.tokenizer, "same")
    assert read.bits_per_character(TEXTS) == pytest.approx(same.bits_per_character(TEXTS))
    steps = load_encoder(f"hf:{tmp_path / 'new'}").encode([Item("a", "eng", text=TEXTS[0])])
    assert len(steps.values) > 0
    if init != "random":
        table = made.model.get_input_embeddings().weight.detach().numpy()
        before = old.model.get_input_embeddings().weight.detach().numpy()
        known = compare_vocabularies(pieces_of(old.tokenizer), pieces_of(new))
        for token, same_token in known.shared.items():
            np.testing.assert_array_equal(table[token], before[same_token])
    with pytest.raises(IsoglossError, match="is there already"):
        save_model(made.model, made.tokenizer, tmp_path / "new")


def test_a_seed_reaches_what_is_drawn(tmp_path: Path) -> None:
    make_causal("llama", tmp_path / "m")
    old = load_causal(tmp_path / "m")
    new = train_tokenizer(TEXTS, 290)

    def table(seed: int) -> Any:
        made = rebuild(old.model, old.tokenizer, new, init="copy", seed=seed)
        return made.model.get_input_embeddings().weight.detach()

    assert torch.equal(table(0), table(0))
    assert not torch.equal(table(0), table(1))


def test_what_an_init_lacks_is_said(tmp_path: Path) -> None:
    make_causal("llama", tmp_path / "m")
    old = load_causal(tmp_path / "m")
    new = train_tokenizer(TEXTS, 290)
    with pytest.raises(ValueError, match="'sava' needs the embeddings of a helper"):
        rebuild(old.model, old.tokenizer, new, init="sava")
    with pytest.raises(ValueError, match="'unibridge' needs texts"):
        rebuild(old.model, old.tokenizer, new, init="unibridge")
    make_causal("llama", tmp_path / "small", vocab_size=20)
    with pytest.raises(ValueError, match="the helper must be a model of the new tokenizer"):
        small = load_model(tmp_path / "small")
        rebuild(old.model, old.tokenizer, new, init="clp", helper=small)
    with pytest.raises(IsoglossError, match="object has no fast tokenizer"):
        rebuild(old.model, object(), new)


def test_added_tokens_are_means_and_must_occur(tmp_path: Path) -> None:
    make_causal("llama", tmp_path / "m")
    old = load_causal(tmp_path / "m")
    made = extend(old.model, old.tokenizer, ["Grüezi"], ["Grüezi mitenand", "The fox"])
    assert len(made.tokenizer) == len(old.tokenizer) + 1
    token = made.tokenizer.convert_tokens_to_ids("Grüezi")
    assert made.tokenizer("Grüezi", add_special_tokens=False)["input_ids"][-1:] == [token]
    split = pieces_of(old.tokenizer).split("Grüezi".encode())
    before = old.model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(
        made.model.get_input_embeddings().weight.detach().numpy()[token],
        before[split].mean(axis=0),
        atol=1e-6,
    )
    assert len(old.tokenizer) == len(made.tokenizer) - 1
    with pytest.raises(
        ValueError, match=r"1 of 2 tokens do not occur in the texts, first 'Servus'"
    ):
        extend(old.model, old.tokenizer, ["Grüezi", "Servus"], ["Grüezi mitenand"])
    with pytest.raises(ValueError, match="named twice"):
        extend(old.model, old.tokenizer, ["Grüezi", "Grüezi"], ["Grüezi mitenand"])
    with pytest.raises(ValueError, match="already"):
        extend(old.model, old.tokenizer, ["e"], ["e"])
