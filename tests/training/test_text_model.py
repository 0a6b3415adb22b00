from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from isogloss.errors import IsoglossError, UnknownName
from isogloss.training.objectives.causal_lm import CausalLM, next_token_loss
from isogloss.training.objectives.masked_lm import MaskedLM, hidden_tokens
from isogloss.training.objectives.text import OBJECTIVES, TextObjective, parse_objective
from isogloss.training.objectives.translation_lm import TranslationLM, joined
from isogloss.training.text_batch import TextBatch, Tokens, pad_tokens
from isogloss.training.text_model import TextModel
from isogloss.training.text_parameters import choose_parameters, merge_adapters
from isogloss.training.text_tokenizer import kept_tokenizer, train_tokenizer
from text_training_makers import parallel_items, text_batch, tiny_model

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)

TEXTS = ["the cat red sees house number 1", "die Katze grün", "casa"]


@pytest.fixture(scope="module")
def encoder() -> Any:
    return tiny_model().eval()


@pytest.fixture(scope="module")
def decoder() -> Any:
    return tiny_model("decoder").eval()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_states_are_those_of_the_model_itself(kind: str) -> None:
    model = tiny_model(kind).eval()
    tokens = model.tokens(TEXTS)
    with torch.no_grad():
        found = model.states(tokens)
        asked = {"input_ids": tokens.ids, "attention_mask": tokens.real.long()}
        other = model.model(**asked, output_hidden_states=True)
    assert len(found) == len(model.layers) == 4
    for layer in (0, 1):
        assert torch.allclose(
            found[layer][tokens.real], other.hidden_states[layer][tokens.real], atol=1e-5
        )
    # The last state of transformers is behind the final norm, which here is a layer of its own.
    assert torch.allclose(found[3][tokens.real], other.hidden_states[2][tokens.real], atol=1e-5)
    assert not torch.allclose(found[2][tokens.real], found[3][tokens.real], atol=1e-3)
    logits = model.logits(found[-1])
    assert torch.allclose(logits[tokens.real], other.logits[tokens.real], atol=1e-5)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_padding_changes_nothing_and_a_token_does(kind: str) -> None:
    model = tiny_model(kind).eval()
    tokens = model.tokens(TEXTS)
    with torch.no_grad():
        states = model.states(tokens)[-1]
        dirty = tokens.ids.clone()
        dirty[~tokens.real] = 300
        other = model.states(Tokens(dirty, tokens.real, tokens.special, tokens.words))[-1]
        assert torch.allclose(states[tokens.real], other[tokens.real], atol=1e-5)
        dirty = tokens.ids.clone()
        dirty[0, 1] = 300
        other = model.states(Tokens(dirty, tokens.real, tokens.special, tokens.words))[-1]
        assert not torch.allclose(states[0, 2], other[0, 2], atol=1e-4)
        assert torch.allclose(states[1:][tokens.real[1:]], other[1:][tokens.real[1:]], atol=1e-5)


def test_a_decoder_sees_nothing_ahead_also_with_an_attention_mask(decoder: Any) -> None:
    tokens = decoder.tokens(TEXTS[:1])
    length = tokens.ids.shape[1]
    all_seen = torch.ones(1, length, length, dtype=torch.bool)
    changed = tokens.ids.clone()
    changed[0, -1] = 300
    other = Tokens(changed, tokens.real, tokens.special, tokens.words)
    with torch.no_grad():
        for attention in (None, all_seen):
            a = decoder.states(tokens, attention=attention)[-1]
            b = decoder.states(other, attention=attention)[-1]
            assert torch.allclose(a[0, :-1], b[0, :-1], atol=1e-6)
            assert not torch.allclose(a[0, -1], b[0, -1], atol=1e-4)


def test_what_attention_hides_changes_nothing(encoder: Any) -> None:
    tokens = encoder.tokens(TEXTS)
    length = tokens.ids.shape[1]
    own = torch.eye(length, dtype=torch.bool).expand(3, -1, -1)
    changed = tokens.ids.clone()
    changed[:, 1] = 300
    other = Tokens(changed, tokens.real, tokens.special, tokens.words)
    with torch.no_grad():
        seen = encoder.states(tokens)[-1]
        full = encoder.states(tokens, attention=torch.ones_like(own))[-1]
        assert torch.allclose(seen[tokens.real], full[tokens.real], atol=1e-5)
        a, b = (encoder.states(t, attention=own)[-1] for t in (tokens, other))
        assert torch.allclose(a[:, 2][tokens.real[:, 2]], b[:, 2][tokens.real[:, 2]], atol=1e-6)
        assert not torch.allclose(a[:, 1], b[:, 1], atol=1e-4)
    with pytest.raises(ValueError, match="token 0 of row 0 see nothing"):
        encoder.states(tokens, attention=torch.zeros_like(own))
    with pytest.raises(ValueError, match="attention must be"):
        encoder.states(tokens, attention=own[:2])


def test_input_embeddings_in_place_of_ids(encoder: Any) -> None:
    tokens = encoder.tokens(TEXTS)
    with torch.no_grad():
        embedded = encoder.input_embedding()[tokens.ids]
        a, b = encoder.states_of(embedded, tokens)[-1], encoder.states(tokens)[-1]
    assert torch.allclose(a[tokens.real], b[tokens.real], atol=1e-5)


def test_tokens_of_encoder_and_decoder(encoder: Any, decoder: Any) -> None:
    found = encoder.tokens(["casa", ""])
    names = encoder.tokenizer.convert_ids_to_tokens(found.ids[1])
    assert names[:2] == ["<s>", "</s>"]
    assert set(names[2:]) <= {"<pad>"}
    assert found.special[0, 0]
    assert not found.content[1].any()
    found = decoder.tokens(["casa azul"])
    names = decoder.tokenizer.convert_ids_to_tokens(found.ids[0])
    assert (names[0], names[-1]) == ("<s>", "</s>")
    assert found.special[0].tolist() == [True, *[False] * (len(names) - 2), True]
    assert found.words[0, 0] == found.words[0, -1] == -1
    assert set(found.words[0, 1:-1].tolist()) == {0, 1}
    with pytest.raises(ValueError, match="no text"):
        encoder.tokens([])


def test_special_tokens_in_a_text_are_text(encoder: Any) -> None:
    found = encoder.tokens(["a </s> <mask> b"])
    ids = found.ids[0].tolist()
    assert encoder.mask_id not in ids
    assert ids.count(encoder.tokenizer.eos_token_id) == 1
    assert not found.special[0, 1:-1].any()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_long_texts_are_cut_and_counted(kind: str) -> None:
    model = tiny_model(kind)
    texts = ["x y " * 25_000, "x" * 100_000, "casa", "", "x y z " * 4]
    found = model.tokens(texts)
    assert found.ids.shape == (5, 24)
    assert found.ids[0, -1] == model.tokenizer.eos_token_id
    cut = sum(len(model.tokenizer(text)["input_ids"]) + (kind == "decoder") > 24 for text in texts)
    assert model.count_cut(texts) == cut


def test_work_is_counted(encoder: Any) -> None:
    model = tiny_model()
    tokens = model.tokens(TEXTS)
    n, length = tokens.ids.shape
    weights = sum(p.numel() for block in model.blocks for p in block.parameters())
    with torch.no_grad():
        model.states(tokens)
    forward = n * length * (2 * weights + 4 * 2 * length * 16)
    assert model.spent == {"passes": 1, "tokens": float(tokens.real.sum()), "flops": forward}
    model.states(tokens)
    assert model.spent["flops"] == 4 * forward
    model.frozen_copy().states(tokens)
    assert model.spent["flops"] == 5 * forward
    assert model.spent["passes"] == 3
    model.logits(torch.zeros(2, 16))
    assert model.spent["flops"] == 5 * forward + 3 * 2 * 2 * 16 * len(model.tokenizer)


def test_a_frozen_copy_does_not_learn_and_has_no_dropout() -> None:
    model = tiny_model()
    copied = model.frozen_copy()
    copied.train()
    assert not copied.training
    assert not any(module.training for module in copied.modules())
    assert not any(p.requires_grad for p in copied.parameters())
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    assert not torch.equal(next(model.parameters()), next(copied.parameters()))


def test_saved_is_loaded(encoder: Any, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    again = TextModel.load(tmp_path, max_tokens=24).eval()
    tokens = again.tokens(TEXTS)
    assert torch.equal(tokens.ids, encoder.tokens(TEXTS).ids)
    with torch.no_grad():
        assert torch.equal(again.states(tokens)[-1], encoder.states(tokens)[-1])
    assert not again.causal


def test_folders_that_hold_no_text_model(tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="there is no such folder"):
        TextModel.load(tmp_path / "absent")
    (tmp_path / "config.json").write_text('{"kind": "hash"}', encoding="utf-8")
    with pytest.raises(IsoglossError, match=r"kind 'hash'.*no text model"):
        TextModel.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(IsoglossError, match="start"):
        TextModel.load(tmp_path)


def test_objectives_that_do_not_fit_the_model(encoder: Any, decoder: Any) -> None:
    with pytest.raises(IsoglossError, match="use lm"):
        MaskedLM().modules(decoder)
    with pytest.raises(IsoglossError, match="use mlm"):
        CausalLM().modules(encoder)


def test_masking_leaves_special_tokens_and_padding_alone(encoder: Any) -> None:
    tokens = encoder.tokens(TEXTS * 200)
    draw = torch.Generator().manual_seed(0)
    inputs, chosen = hidden_tokens(encoder, tokens, share=0.15, draw=draw)
    assert not (chosen & ~tokens.content).any()
    assert torch.equal(inputs.ids[~chosen], tokens.ids[~chosen])
    share = float(chosen.sum() / tokens.content.sum())
    masked = float((inputs.ids[chosen] == encoder.mask_id).sum() / chosen.sum())
    kept = float((inputs.ids[chosen] == tokens.ids[chosen]).sum() / chosen.sum())
    assert share == pytest.approx(0.15, abs=0.03)
    assert masked == pytest.approx(0.8, abs=0.05)
    assert kept == pytest.approx(0.1, abs=0.05)
    swapped = inputs.ids[chosen & (inputs.ids != encoder.mask_id)]
    assert not set(swapped.tolist()) & set(encoder.tokenizer.all_special_ids)
    among = tokens.words == 0
    _, chosen = hidden_tokens(encoder, tokens, share=1.0, draw=draw, among=among)
    assert torch.equal(chosen, among & tokens.content)


def test_masked_loss_is_the_cross_entropy_of_what_is_hidden(encoder: Any) -> None:
    batch = text_batch(encoder, TEXTS, list(reversed(TEXTS)))
    draw = torch.Generator().manual_seed(5)
    call = {"extra": None, "step": 0, "steps": 1}
    with torch.no_grad():
        found = MaskedLM(share=0.5)(encoder, batch, draw=draw, **call)
        draw = torch.Generator().manual_seed(5)
        terms = []
        for side in batch.sides:
            inputs, chosen = hidden_tokens(encoder, side, share=0.5, draw=draw)
            logits = encoder.model(
                input_ids=inputs.ids, attention_mask=inputs.real.long()
            ).logits.log_softmax(-1)
            terms += [-float(logits[i, j, side.ids[i, j]]) for i, j in chosen.nonzero().tolist()]
    assert float(found.total) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    empty = text_batch(encoder, ["", ""])
    nothing = MaskedLM()(encoder, empty, draw=draw, **call)
    assert float(nothing.total) == 0.0


def test_next_token_loss_is_that_of_transformers(decoder: Any) -> None:
    tokens = decoder.tokens(TEXTS)
    with torch.no_grad():
        total, count = next_token_loss(decoder, tokens)
        labels = tokens.ids.masked_fill(~tokens.real, -100)
        asked = {"input_ids": tokens.ids, "attention_mask": tokens.real.long()}
        other = decoder.model(**asked, labels=labels).loss
    assert count == int(tokens.real.sum()) - 3
    assert float(total) / count == pytest.approx(float(other), rel=1e-5)


def test_joined_sides(encoder: Any) -> None:
    first, second = encoder.tokens(["casa azul", "casa"]), encoder.tokens(["Haus", "Haus blau"])
    both = joined(first, second, [False, True], pad=encoder.pad_id, most=24)
    for row, (a, b) in enumerate((("casa azul", "Haus"), ("Haus blau", "casa"))):
        pair = encoder.tokenizer(a, b)["input_ids"]
        assert both.ids[row][both.real[row]].tolist() == pair
    assert int(both.special.sum()) == 6
    assert both.words[0][both.content[0]].unique().tolist() == [0, 1, 2]
    # The longer side gives way first, and both remain.
    cut = joined(first, second, [False, False], pad=encoder.pad_id, most=8)
    assert cut.ids.shape[1] <= 8
    assert cut.content.sum(dim=1).min() >= 2
    small = joined(first, second, [False, False], pad=encoder.pad_id, most=3)
    assert not small.content.any()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_tlm_lets_one_side_help_the_other(kind: str) -> None:
    model = tiny_model(kind)
    texts = [item.text or "" for item in parallel_items(12)]
    batch = text_batch(model, texts[:12], texts[12:24])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    objective = TranslationLM()
    losses = []
    for step in range(8):
        draw = torch.Generator().manual_seed(step)
        loss = objective(model, batch, extra=None, draw=draw, step=step, steps=8).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("text", ["mlm:share=0", "mlm:share=2", "tlm:share=-1", "infonce:layer"])
def test_values_of_options_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError):
        parse_objective(text)


def test_objectives_by_name() -> None:
    asked = parse_objective("infonce:layer=1+3,weight=0.5,hard=2")
    assert (asked.name, asked.weight) == ("infonce", 0.5)
    assert str(asked) == "infonce:weight=0.5,layer=1+3,hard=2"
    with pytest.raises(UnknownName, match="did you mean infonce"):
        parse_objective("infonec")
    with pytest.raises(UnknownName, match="did you mean layer"):
        parse_objective("infonce:layers=2")
    for wrong in ("mlm:weight=0", "mlm:weight=x", "mlm:share=0.1,share=0.2", "mlm:share=nan"):
        with pytest.raises(ValueError):
            parse_objective(wrong)
    for name in ("mlm", "lm", "tlm", "infonce"):
        from isogloss.training.objectives.text import Asked, make_objective

        assert name in OBJECTIVES
        assert isinstance(make_objective(Asked(name)), TextObjective)


def test_batches_that_do_not_fit_together(encoder: Any) -> None:
    tokens = encoder.tokens(TEXTS)
    with pytest.raises(ValueError, match=r"sides\[1\] has 1 rows, sides\[0\] has 3"):
        TextBatch(
            (tokens, tokens.select([0])),
            (None,) * 3,
            (("a",) * 3, ("a",) * 3),
            None,
            (tuple(TEXTS), tuple(TEXTS)),
        )
    with pytest.raises(ValueError, match="one side or two"):
        TextBatch((), (), (), None, ())
    with pytest.raises(ValueError, match="special must be"):
        Tokens(tokens.ids, tokens.real, tokens.special[:1], tokens.words)
    with pytest.raises(ValueError, match="row 0 has 2 ids"):
        pad_tokens([[1, 2]], [[True]], [[0, 0]], pad=0)


def learning(model: Any) -> set[str]:
    return {name for name, p in model.model.named_parameters() if p.requires_grad}


def test_parameters_that_learn() -> None:
    model = tiny_model(layers=3)
    everything = learning(model)
    assert choose_parameters(model, "full") is None
    assert learning(model) == everything
    choose_parameters(model, "layers:2-3")
    assert {name.split(".")[2] for name in learning(model)} == {"1", "2"}
    assert all(name.startswith("model.layers") for name in learning(model))
    model.requires_grad_(True)
    choose_parameters(model, "embeddings")
    assert learning(model) == {"model.embeddings.tok_embeddings.weight"}
    for wrong in (
        "layers:0",
        "layers:2-9",
        "layers:3-2",
        "layers:x",
        "lora:0",
        "lora:a",
        "lora:8,",
    ):
        with pytest.raises(ValueError):
            choose_parameters(model, wrong)
    with pytest.raises(UnknownName):
        choose_parameters(model, "head")


def test_lora_learns_alone_and_adapters_add_up(tmp_path: Path) -> None:
    tiny_model().save(tmp_path / "start")
    adapters = []
    for number, spec in enumerate(("lora:2", "lora:4,4")):
        model = TextModel.load(tmp_path / "start")
        before = {name: p.clone() for name, p in model.model.named_parameters()}
        adapted = choose_parameters(model, spec)
        assert adapted is not None
        assert all("lora_" in name for name in learning(model))
        tokens = model.eval().tokens(TEXTS)
        plain = TextModel.load(tmp_path / "start").eval().states(tokens)[-1].detach()
        # It begins as the model without it.
        assert torch.allclose(model.states(tokens)[-1].detach(), plain, atol=1e-5)
        torch.manual_seed(number)
        for name, parameter in model.model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        with_adapter = model.states(tokens)[-1].detach()
        adapted.save(tmp_path / f"adapter{number}")
        model.model = adapted.merged()
        assert {name for name, _ in model.model.named_parameters()} == set(before)
        assert torch.allclose(model.states(tokens)[-1].detach(), with_adapter, atol=1e-4)
        adapters.append(
            {name: p.detach() - before[name] for name, p in model.model.named_parameters()}
        )
    folders = [(tmp_path / "adapter0", 1.0), (tmp_path / "adapter1", -0.5)]
    merge_adapters(tmp_path / "start", folders, tmp_path / "both")
    both = dict(TextModel.load(tmp_path / "both").model.named_parameters())
    start = dict(TextModel.load(tmp_path / "start").model.named_parameters())
    for name, first in adapters[0].items():
        expected = start[name] + first - 0.5 * adapters[1][name]
        assert torch.allclose(both[name], expected, atol=1e-4), name
    merge_adapters(tmp_path / "start", folders[:1], tmp_path / "one")
    one = dict(TextModel.load(tmp_path / "one").model.named_parameters())
    assert all(torch.allclose(one[n], start[n] + d, atol=1e-4) for n, d in adapters[0].items())
    with pytest.raises(IsoglossError, match=r"adapter_config\.json"):
        merge_adapters(tmp_path / "start", [(tmp_path, 1.0)], tmp_path / "x")
    with pytest.raises(ValueError, match="no adapter"):
        merge_adapters(tmp_path / "start", [], tmp_path / "x")


def test_tokenizer_gives_the_text_back() -> None:
    made = train_tokenizer([item.text or "" for item in parallel_items()], pieces=400)
    for text in ("the cat", "Größe  zwei", "汉字 und ђ", "a\tb", "🙂"):
        ids = made(text)["input_ids"]
        assert made.decode(ids, skip_special_tokens=True) == text
        assert made.unk_token_id not in ids
    assert made(" casa")["input_ids"] == made("casa")["input_ids"]
    assert made("e\u0301")["input_ids"] == made("\u00e9")["input_ids"]  # NFC
    assert made.convert_ids_to_tokens(range(6)) == [
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        "<mask>",
        "<0x00>",
    ]


def test_tokenizer_without_texts_and_too_small() -> None:
    made = train_tokenizer([], pieces=300)
    assert made.decode(made("ab ü")["input_ids"], skip_special_tokens=True) == "ab ü"
    with pytest.raises(ValueError, match="at least 300"):
        train_tokenizer([], pieces=299)


def test_tokenizer_is_trained_once(tmp_path: Path) -> None:
    options: Any = {"pieces": 320, "kind": "encoder", "max_tokens": 16}
    first = kept_tokenizer(tmp_path / "t", ["ab ab ab"], **options)
    again = kept_tokenizer(tmp_path / "t", ["xy xy xy"], **options)
    assert first.get_vocab() == again.get_vocab()
    assert math.isclose(again.model_max_length, 16)
