"""Generation equals transformers' own, alone and in any batch; scores are those of the softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import text_checkpoints
from isogloss.errors import IsoglossError
from isogloss.llm import CausalModel, load_causal
from llm_makers import make_causal

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = [
    "The quick brown",
    "Der",
    "敏捷的棕色狐狸跳过",
    "jumps over the lazy dog. Der schnelle braune",
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp(request.param) / "model"
    make_causal(request.param, folder)
    return load_causal(folder)


def test_greedy_is_what_transformers_generates(model: CausalModel) -> None:
    made = model.generate(PROMPTS, new_tokens=8)
    for prompt, text in zip(PROMPTS, made, strict=True):
        ids = torch.tensor([model.token_ids(prompt)])
        with torch.inference_mode():
            theirs = model.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=8,
                do_sample=False,
                pad_token_id=0,
            )
        expected = model.tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True)
        assert text == expected


def test_a_prompt_gives_the_same_alone_as_in_a_batch(model: CausalModel) -> None:
    together = model.generate(PROMPTS, new_tokens=6, temperature=1.0, seed=3)
    small = CausalModel(model.model, model.tokenizer, "same", batch=1)
    assert small.generate(PROMPTS, new_tokens=6, temperature=1.0, seed=3) == together
    assert model.generate(PROMPTS, new_tokens=6) == small.generate(PROMPTS, new_tokens=6)


def test_seed_temperature_and_top_p_change_what_is_drawn(model: CausalModel) -> None:
    drawn = model.generate(PROMPTS, new_tokens=8, temperature=2.0, seed=1)
    assert drawn == model.generate(PROMPTS, new_tokens=8, temperature=2.0, seed=1)
    assert drawn != model.generate(PROMPTS, new_tokens=8, temperature=2.0, seed=2)
    assert drawn != model.generate(PROMPTS, new_tokens=8)
    # So small a share holds the likeliest token alone.
    nearly_greedy = model.generate(PROMPTS, new_tokens=8, temperature=2.0, top_p=1e-9)
    assert nearly_greedy == model.generate(PROMPTS, new_tokens=8)


def test_log_probs_are_those_of_the_softmax_in_any_batch(model: CausalModel) -> None:
    found = model.log_probs(PROMPTS)
    for text, values in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([model.token_ids(text)])
        with torch.inference_mode():
            every = torch.log_softmax(model.model(ids).logits[0, :-1].float(), dim=-1)
        expected = every.gather(1, ids[0, 1:, None])[:, 0].numpy()
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_prompt_before_a_text_is_not_scored_but_seen(model: CausalModel) -> None:
    text, prompt = "jumps over", "The quick brown fox"
    scored = model.log_probs([text, text], prompts=[prompt, ""])
    ids = model.token_ids(prompt) + model.token_ids(text, start=False)
    with torch.inference_mode():
        every = torch.log_softmax(model.model(torch.tensor([ids])).logits[0].float(), dim=-1)
    count = len(scored[0])
    expected = [float(every[i - 1, ids[i]]) for i in range(len(ids) - count, len(ids))]
    np.testing.assert_allclose(scored[0], expected, atol=1e-5)
    np.testing.assert_allclose(scored[1], model.log_probs([text])[0], atol=1e-5)


def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_vocabulary(
    tmp_path: Path,
) -> None:
    text_checkpoints.make("llama", tmp_path / "m", head=True, tie_word_embeddings=False)
    model = load_causal(tmp_path / "m")
    with torch.no_grad():
        model.model.get_output_embeddings().weight.zero_()
    texts = ["The quick brown fox", "Der faule Hund " * 40]
    tokens = sum(len(model.token_ids(text, start=False)) for text in texts)
    assert tokens > 2 * model.most_tokens  # several windows
    size = model.model.config.vocab_size
    expected = tokens * math.log2(size) / sum(map(len, texts))
    assert model.bits_per_character(texts) == pytest.approx(expected, rel=1e-5)
    assert len(model.log_probs(texts)[1]) == len(model.token_ids(texts[1], start=False))


def test_the_first_token_is_paid_for_without_a_start_token(model: CausalModel) -> None:
    tokenizer = model.tokenizer.__class__.from_pretrained(model.model.config.name_or_path)
    tokenizer.bos_token = tokenizer.eos_token = None
    bare = CausalModel(model.model, tokenizer, "bare")
    values = bare.log_probs(["The quick"])[0]
    assert len(values) == len(bare.token_ids("The quick"))
    assert values[0] == pytest.approx(-math.log(model.model.config.vocab_size))
    with pytest.raises(ValueError, match="prompt 0 is empty"):
        bare.generate([""])


def test_empty_texts_cost_nothing_and_only_empty_texts_are_refused(model: CausalModel) -> None:
    assert [len(v) for v in model.log_probs(["", "The"])] == [0, len(model.log_probs(["The"])[0])]
    assert model.bits_per_character(["", "The"]) == model.bits_per_character(["The"])
    with pytest.raises(ValueError, match="no character"):
        model.bits_per_character(["", ""])
    assert model.generate([]) == []


def test_an_output_has_at_least_so_many_tokens(model: CausalModel) -> None:
    ends = model._end_ids()
    made = model._continue([model.token_ids("Der")], [0], 5, _greedy(model, least=5))
    assert len(made[0]) == 5
    assert not ends & set(made[0])


def _greedy(model: CausalModel, least: int):  # type: ignore[no-untyped-def]
    from isogloss.llm.hf_causal import _Sampling

    return _Sampling(0.0, 1.0, 0, least)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"new_tokens": 0}, "new_tokens must lie in 1 to"),
        ({"new_tokens": 64}, "holds 64 tokens"),
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"top_p": 0.0}, "top_p"),
        ({"least_tokens": 99}, "least_tokens must lie in 0 to new_tokens 32"),
    ],
)
def test_options_out_of_range_are_refused(
    model: CausalModel, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.generate(["a"], **options)  # type: ignore[arg-type]


def test_a_long_prompt_keeps_its_end(model: CausalModel) -> None:
    long = "The quick brown fox jumps over the lazy dog. " * 30
    ids = model.token_ids(long)
    room = model.most_tokens - 4
    head = [model.start_id] if ids[0] == model.start_id else []
    kept = [*head, *ids[len(ids) - room + len(head) :]]
    again = model._continue([[int(i) for i in kept]], [0], 4, _greedy(model, least=0))
    assert model.generate([long], new_tokens=4) == [
        model.tokenizer.decode(again[0], skip_special_tokens=True)
    ]


def test_what_is_no_causal_model_is_refused(tmp_path: Path) -> None:
    text_checkpoints.make("bert", tmp_path / "bert")
    with pytest.raises(IsoglossError, match="predicts no next token"):
        load_causal(tmp_path / "bert")
    with pytest.raises(IsoglossError, match="there is no folder"):
        load_causal(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(IsoglossError, match="cannot be loaded"):
        load_causal(tmp_path / "empty")
