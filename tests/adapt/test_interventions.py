"""States under a hook are the states changed as said: layer, site, phase, strength, padding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import text_checkpoints
from isogloss.adapt.changes import ByTransform, DampenUnits, SetUnits, Shift
from isogloss.adapt.interventions import Intervention, SteeredEncoder, intervened
from isogloss.adapt.model_states import text_states
from isogloss.encoders.registry import load_encoder
from isogloss.llm import CausalModel, load_causal
from isogloss.llm.token_marks import prompt_columns_are
from isogloss.types import Item, Vectors
from llm_makers import make_causal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

TEXTS = ["The quick brown fox", "Der", "敏捷的棕色狐狸跳过懒狗。"]
ITEMS = [Item(str(i), "eng", text=text) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.set_num_threads(1)
    made = {}
    for name in ("llama", "gpt2"):
        made[name] = make_causal(name, tmp_path_factory.mktemp(name) / "m")
    for name in ("bert", "t5", "modernbert"):
        made[name] = text_checkpoints.make(name, tmp_path_factory.mktemp(name) / "m")
    return made


@pytest.fixture(scope="module")
def model(folders: dict[str, Any]) -> CausalModel:
    return load_causal(folders["llama"])


def shift_of(size: int = 16, scale: float = 3.0) -> np.ndarray[Any, Any]:
    return (scale * np.random.default_rng(0).normal(size=size)).astype(np.float32)


@dataclass
class Counting:
    """A change that changes nothing and keeps what it saw."""

    seen: list[Tensor] = field(default_factory=list)
    said: str = "counting"

    def __call__(self, states: Tensor) -> Tensor:
        self.seen.append(states.clone())
        return states


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "t5", "modernbert"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_states_of_a_layer_under_a_hook_there_are_the_states_and_the_shift(
    folders: dict[str, Any], name: str, layer: int
) -> None:
    encoder = load_encoder(f"hf:{folders[name]}", layer=layer)
    before = encoder.encode(ITEMS)
    shift = shift_of()
    steered = SteeredEncoder(encoder, (Intervention(Shift(shift), layer),))
    after = steered.encode(ITEMS)
    np.testing.assert_allclose(after.values, before.values + shift, atol=2e-5)
    assert after.made_by != before.made_by
    assert "shift" in after.made_by
    np.testing.assert_array_equal(encoder.encode(ITEMS).values, before.values)


def test_the_layer_before_is_left_and_the_layer_behind_changes(folders: dict[str, Any]) -> None:
    encoder = load_encoder(f"hf:{folders['llama']}")
    before = encoder.encode_layers(ITEMS)  # type: ignore[attr-defined]
    with intervened(encoder, Intervention(Shift(shift_of()), 2)):
        after = encoder.encode_layers(ITEMS)  # type: ignore[attr-defined]
    for layer in (0, 1):
        np.testing.assert_array_equal(after[layer].values, before[layer].values)
    assert np.abs(after[3].values - before[3].values).max() > 0.1


def test_hooks_are_gone_after_the_block_and_after_an_error(model: CausalModel) -> None:
    before = model.log_probs(TEXTS)

    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())

    start = hooks()
    with pytest.raises(KeyError), intervened(model, Intervention(Shift(shift_of()), 1)):
        assert hooks() > start
        raise KeyError
    assert hooks() == start
    with (
        pytest.raises(ValueError, match="layer must be one of 0 to 3"),
        intervened(model, Intervention(Shift(shift_of()), 1), Intervention(Shift(shift_of()), 4)),
    ):
        pass
    assert hooks() == start
    for a, b in zip(before, model.log_probs(TEXTS), strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_interventions_nest(model: CausalModel) -> None:
    a, b = shift_of(), shift_of(scale=-1.0)
    with intervened(model, Intervention(Shift(a + b), 1)):
        together = model.log_probs(TEXTS)
    with intervened(model, Intervention(Shift(a), 1)), intervened(model, Intervention(Shift(b), 1)):
        nested = model.log_probs(TEXTS)
    with intervened(model, Intervention(Shift(a), 1), Intervention(Shift(b), 1)):
        listed = model.log_probs(TEXTS)
    for x, y, z in zip(together, nested, listed, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4)
        np.testing.assert_allclose(x, z, atol=1e-4)


def test_padding_is_not_touched_so_a_batch_changes_nothing(model: CausalModel) -> None:
    alone = CausalModel(model.model, model.tokenizer, "alone", batch=1)
    for strength, relative in ((1.0, False), (0.7, True)):
        with intervened(
            model, Intervention(Shift(shift_of()), 1, strength=strength, relative=relative)
        ):
            for a, b in zip(model.log_probs(TEXTS), alone.log_probs(TEXTS), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)
            assert model.generate(TEXTS, new_tokens=5) == alone.generate(TEXTS, new_tokens=5)
    counting = Counting()
    with intervened(model, Intervention(counting, 1)):
        list(model.passes(TEXTS))
    real = sum(len(model.token_ids(text, start=False)) for text in TEXTS)
    assert sum(len(states) for states in counting.seen) == real


@pytest.mark.parametrize(
    ("phase", "expected"), [("prompt", "p"), ("generated", "g"), ("both", "b")]
)
def test_a_phase_sees_its_tokens_alone(model: CausalModel, phase: Any, expected: str) -> None:
    counting = Counting()
    with intervened(model, Intervention(counting, 1, phase=phase)):
        made = model._continue(
            [model.token_ids(text) for text in TEXTS], [0, 1, 2], 5, _five_tokens()
        )
    assert all(len(row) == 5 for row in made)
    prompt = sum(len(model.token_ids(text, start=False)) for text in TEXTS)
    # The last new token is never fed back.
    special = set(model.tokenizer.all_special_ids)
    generated = sum(token not in special for row in made for token in row[:4])
    wanted = {"p": prompt, "g": generated, "b": prompt + generated}[expected]
    assert sum(len(states) for states in counting.seen) == wanted


def _five_tokens() -> Any:
    from isogloss.llm.hf_causal import _Sampling

    return _Sampling(0.0, 1.0, 0, 5)


@pytest.mark.parametrize("phase", ["prompt", "generated", "both"])
def test_with_a_cache_and_without_the_logits_are_the_same(model: CausalModel, phase: Any) -> None:
    prompt = model.token_ids("The quick brown")
    rest = model.token_ids(" fox jumps over", start=False)
    ids = torch.tensor([prompt + rest])
    step = Intervention(Shift(shift_of()), 1, phase=phase)
    with torch.inference_mode(), intervened(model, step):
        with prompt_columns_are(torch.tensor([[len(prompt)]])):
            whole = model.model(ids, attention_mask=torch.ones_like(ids)).logits
        output = model.model(ids[:, : len(prompt)], use_cache=True)
        parts = [output.logits]
        for i in range(len(prompt), ids.shape[1]):
            output = model.model(
                ids[:, i : i + 1],
                attention_mask=torch.ones((1, i + 1), dtype=torch.long),
                past_key_values=output.past_key_values,
                use_cache=True,
            )
            parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)


def test_transformers_own_generate_is_steered_the_same(model: CausalModel) -> None:
    ids = torch.tensor([model.token_ids("The quick brown")])
    step = Intervention(Shift(shift_of(scale=6.0)), 1, phase="generated")
    with intervened(model, step):
        ours = model._continue([ids[0].tolist()], [0], 6, _five_tokens())
        theirs = model.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            min_new_tokens=5,
            do_sample=False,
            pad_token_id=0,
        )
    assert theirs[0, ids.shape[1] :].tolist()[:5] == ours[0][:5]


def test_the_encoder_of_an_encoder_decoder_is_steered_while_it_generates(
    folders: dict[str, Any],
) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    model = T5ForConditionalGeneration(T5Config.from_pretrained(folders["t5"])).eval()
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    counting = Counting()
    options = {"attention_mask": (ids != 0).long(), "max_new_tokens": 3, "do_sample": False}
    with intervened(model, Intervention(counting, 1)):
        model.generate(ids, decoder_start_token_id=0, **options)
    assert [len(states) for states in counting.seen] == [5]


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), float("-inf")])
def test_a_strength_that_is_no_number_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number"):
        Intervention(Shift(shift_of()), 1, strength=strength)


def test_a_relative_strength_is_a_share_of_each_states_length(model: CausalModel) -> None:
    before = text_states(model, TEXTS, [(1, "residual")])[1, "residual"].values
    direction = shift_of() / np.linalg.norm(shift_of())
    step = Intervention(Shift(direction, direction=True), 1, strength=0.5, relative=True)
    with intervened(model, step):
        after = text_states(model, TEXTS, [(1, "residual")])[1, "residual"].values
    change = after - before
    np.testing.assert_allclose(
        np.linalg.norm(change, axis=1), 0.5 * np.linalg.norm(before, axis=1), rtol=1e-4
    )
    cosines = change @ direction / np.linalg.norm(change, axis=1)
    np.testing.assert_allclose(cosines, 1.0, atol=1e-4)


def test_a_change_that_changes_nothing_has_no_direction(model: CausalModel) -> None:
    before = model.log_probs(TEXTS)
    for step in (
        Intervention(Counting(), 1, strength=5.0, relative=True),
        Intervention(Shift(shift_of()), 1, strength=0.0),
    ):
        with intervened(model, step):
            after = model.log_probs(TEXTS)
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_shift_of_length_one_is_refused_or_a_direction_knowingly() -> None:
    unit = shift_of() / np.linalg.norm(shift_of())
    with pytest.raises(ValueError, match=r"length 1\.0000.*units of the states"):
        Shift(unit)
    with pytest.raises(ValueError, match="direction of no length"):
        Intervention(Shift(unit, direction=True), 1)
    Intervention(Shift(unit, direction=True), 1, relative=True)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(4), "is zero"),
        (np.array([1.0, np.nan]), "NaN"),
        (np.ones((2, 2)), r"one finite vector \(D,\)"),
    ],
)
def test_what_is_no_shift_is_refused(vector: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shift(vector.astype(np.float32))


def test_units_are_set_and_dampened_where_they_are_read(folders: dict[str, Any]) -> None:
    encoder = load_encoder(f"hf:{folders['llama']}?site=mlp", layer=2)
    before = encoder.encode(ITEMS).values
    units = np.array([3, 7])
    set_to = np.array([1.5, -2.0], dtype=np.float32)
    step = Intervention(SetUnits(units, set_to), 2, site="mlp")
    after = SteeredEncoder(encoder, (step,)).encode(ITEMS).values
    np.testing.assert_allclose(after[:, units], np.tile(set_to, (len(after), 1)), atol=1e-5)
    others = np.setdiff1d(np.arange(before.shape[1]), units)
    np.testing.assert_allclose(after[:, others], before[:, others], atol=1e-6)
    half = Intervention(DampenUnits(units, np.array([0.5, 0.0], dtype=np.float32)), 2, site="mlp")
    after = SteeredEncoder(encoder, (half,)).encode(ITEMS).values
    np.testing.assert_allclose(after[:, units], before[:, units] * [0.5, 0.0], atol=1e-5)


def test_the_attentions_output_can_be_changed(folders: dict[str, Any]) -> None:
    encoder = load_encoder(f"hf:{folders['gpt2']}?site=attention", layer=1)
    before = encoder.encode(ITEMS).values
    step = Intervention(Shift(shift_of()), 1, site="attention")
    after = SteeredEncoder(encoder, (step,)).encode(ITEMS).values
    np.testing.assert_allclose(after, before + shift_of(), atol=1e-5)


@pytest.mark.parametrize(
    ("units", "values"), [([1, 1], [0.0, 0.0]), ([-1], [0.0]), ([1], [np.inf]), ([1, 2], [0.0])]
)
def test_wrong_units_are_refused(units: list[int], values: list[float]) -> None:
    with pytest.raises(ValueError, match="units"):
        SetUnits(np.array(units), np.array(values, dtype=np.float32))


class Doubling:
    """A transform: eng doubled, everything else left."""

    def transform(self, vectors: Vectors, *, varieties: Sequence[str]) -> Vectors:
        factors = np.array([2.0 if v == "eng" else 1.0 for v in varieties], dtype=np.float32)
        return Vectors(vectors.ids, vectors.values * factors[:, None])


class Halving:
    def transform(self, vectors: Vectors, *, varieties: Sequence[str]) -> Vectors:
        return Vectors(vectors.ids, vectors.values[:, ::2].copy())


def test_any_transform_changes_states_as_it_changes_vectors(folders: dict[str, Any]) -> None:
    encoder = load_encoder(f"hf:{folders['bert']}", layer=1)
    before = encoder.encode(ITEMS).values
    for variety, factor in (("eng", 2.0), ("deu", 1.0)):
        change = ByTransform(Doubling(), variety)  # type: ignore[arg-type]
        after = SteeredEncoder(encoder, (Intervention(change, 1),)).encode(ITEMS).values
        np.testing.assert_allclose(after, factor * before, atol=1e-5)
    half = Intervention(ByTransform(Halving(), "eng"), 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 dimensions into 8"):
        SteeredEncoder(encoder, (half,)).encode(ITEMS)


def test_transforms_of_the_registry_can_be_hooked_in(folders: dict[str, Any]) -> None:
    from isogloss.adapt.registry import make_transform

    encoder = load_encoder(f"hf:{folders['bert']}", layer=1)
    steps = encoder.encode(ITEMS)
    vectors = Vectors(tuple(map(str, range(len(steps.values)))), steps.values)
    varieties = ["eng", "deu"] * len(vectors)
    transform = make_transform("center").fit(vectors, varieties=varieties[: len(vectors)])
    step = Intervention(ByTransform(transform, "eng"), 1)
    after = SteeredEncoder(encoder, (step,)).encode(ITEMS).values
    expected = transform.transform(vectors, varieties=["eng"] * len(vectors)).values
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_special_tokens_are_left_unless_said_otherwise(model: CausalModel) -> None:
    for special, expected in ((False, 0), (True, len(TEXTS))):
        counting = Counting()
        with intervened(model, Intervention(counting, 1, special=special)):
            list(model.passes(TEXTS))
        real = sum(len(model.token_ids(text, start=False)) for text in TEXTS)
        assert sum(len(states) for states in counting.seen) == real + expected


def test_what_does_not_fit_is_said(model: CausalModel) -> None:
    step = Intervention(Shift(np.ones(5, dtype=np.float32)), 1)
    with (
        pytest.raises(ValueError, match="does not fit states of 16 dimensions"),
        intervened(model, step),
    ):
        model.log_probs(["The"])
    units = SetUnits(np.array([99]), np.zeros(1, dtype=np.float32))
    with pytest.raises(ValueError, match="does not fit"), intervened(model, Intervention(units, 1)):
        model.log_probs(["The"])
    mask = torch.ones((1, 1, 3, 3))
    with (
        pytest.raises(ValueError, match="attention_mask has shape"),
        intervened(model, Intervention(Shift(shift_of()), 1)),
    ):
        model.model(torch.tensor([[1, 2, 3]]), attention_mask=mask)


@pytest.mark.parametrize(
    "fields", [{"layer": -1}, {"layer": 0, "site": "mlp"}, {"layer": 1, "site": "x"}]
)
def test_wrong_places_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"layer|site"):
        Intervention(Shift(shift_of()), **fields)
    with pytest.raises(ValueError, match="phase"):
        Intervention(Shift(shift_of()), 1, phase="later")  # type: ignore[arg-type]


def test_gradients_pass_through_a_shift(model: CausalModel) -> None:
    with intervened(model, Intervention(Shift(shift_of()), 1)):
        model.model(torch.tensor([[1, 5, 6]])).logits.sum().backward()
    gradient = model.model.get_input_embeddings().weight.grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0)
    model.model.zero_grad()
