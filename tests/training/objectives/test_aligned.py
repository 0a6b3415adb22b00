from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch

from isogloss.speech.ctc import CtcModel, ctc_loss
from isogloss.speech.zipformer import ZipformerConfig
from isogloss.training.batches import Batch
from isogloss.training.objectives import (
    AlignedModel,
    AlignedObjective,
    CtcObjective,
    Extras,
    inner_stacks,
    save_added,
)
from training.tones import small_shape

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)
ALL = Extras((1, 2), True, 6, True)
PLAIN = CtcObjective(augment=None)


def batch(**changes: Any) -> Batch:
    generator = torch.Generator().manual_seed(0)
    values: dict[str, Any] = {
        "ids": ("a", "b", "c"),
        "features": torch.randn(3, 90, 80, generator=generator),
        "lengths": torch.tensor([90, 60, 81]),
        "targets": (((1, 2), (3,), (2, 2, 4)),),
        "seconds": 2.3,
        "teacher": torch.randn(3, 6, generator=generator),
        "taught": torch.tensor([True, False, True]),
        "texts": ((1, 2), (3,), None),
    }
    return Batch(**{**values, **changes})


def model(extras: Extras = ALL, *, heads: int = 1, shape: Any = None) -> AlignedModel:
    torch.manual_seed(0)
    return AlignedModel(shape or small_shape(), 5, extras, dialect_head=heads == 2).eval()


def value(objective: Any, net: Any, data: Batch) -> Any:
    return objective(net, data, seed=(0,), step=0)


def test_its_ctc_part_starts_and_ends_as_a_plain_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = CtcModel(small_shape(), 5).eval()
    aligned = model()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(aligned.state_dict()[name], tensor)
    data = batch()
    bare = aligned.bare()
    assert type(bare) is CtcModel
    for one, other in zip(
        bare(data.features, data.lengths), aligned(data.features, data.lengths), strict=True
    ):
        torch.testing.assert_close(one, other)
    save_added(aligned, tmp_path)
    assert (tmp_path / "alignment.safetensors").stat().st_size > 0


def test_ctc_at_the_last_stack_with_the_shared_output_is_the_final_ctc() -> None:
    net = model(Extras((2,), own_heads=False))
    loss = value(AlignedObjective(PLAIN, inter=0.5), net, batch())
    assert loss.parts["inter_ctc"].item() == pytest.approx(loss.parts["ctc"].item(), rel=1e-5)
    assert loss.total.item() == pytest.approx(1.5 * loss.parts["ctc"].item(), rel=1e-5)


@pytest.mark.parametrize("dims", [(16, 24, 16), (24, 16, 16), (16, 16, 24)])
def test_the_last_stack_ends_as_the_encoder_whatever_the_widths(dims: tuple[int, ...]) -> None:
    shape = dataclasses.replace(
        small_shape(),
        **{
            "layers": (1, 1, 1),
            "feedforward_dims": (24,) * 3,
            "dims": dims,
            "unmasked_dims": dims,
            "heads": (2,) * 3,
            "kernels": (7,) * 3,
            "downsampling": (1, 2, 1),
        },
    )
    net, data = model(Extras((1, 3)), shape=shape), batch()
    with torch.no_grad():
        states, lengths, inner = net.states_and_inner(data.features, data.lengths)
        expected = net.states(data.features, data.lengths)
    torch.testing.assert_close(states, expected[0])
    assert torch.equal(lengths, expected[1])
    is_real = torch.arange(states.shape[1]) < lengths[:, None]
    torch.testing.assert_close(inner[1][is_real], states[is_real])
    assert inner[0].shape == (3, states.shape[1], dims[0])


def test_an_inner_output_spells_its_own_text_where_there_is_one() -> None:
    net = model(Extras((1,)))
    data = batch(inter=((4,), None, (1, 3)))
    outputs = net(data.features, data.lengths, wanted="all")
    found = value(AlignedObjective(PLAIN, inter=1.0), net, data).parts["inter_ctc"]
    rows = [0, 2]
    wanted = ctc_loss(outputs.inner[0][rows], outputs.lengths[rows], [(4,), (1, 3)])
    torch.testing.assert_close(found, wanted.detach())
    none = batch(inter=(None, None, None))
    assert value(AlignedObjective(PLAIN, inter=1.0), net, none).parts["inter_ctc"].item() == 0


def test_the_total_is_the_weighted_sum_of_its_parts() -> None:
    objective = AlignedObjective(PLAIN, inter=0.5, teacher=2.0, contrast=0.25)
    loss = value(objective, model(), batch())
    parts = {name: part.item() for name, part in loss.parts.items()}
    assert parts.keys() == {"ctc", "inter_ctc", "teacher", "contrastive"}
    assert all(part > 0 for part in parts.values())
    wanted = parts["ctc"] + 0.5 * parts["inter_ctc"] + 2 * parts["teacher"]
    assert loss.total.item() == pytest.approx(wanted + 0.25 * parts["contrastive"], rel=1e-5)


def test_one_cosine_is_a_nat_at_every_step() -> None:
    net, data = model(Extras(teacher_dim=6)), batch()
    pooled = net(data.features, data.lengths, wanted="all").pooled
    assert data.teacher is not None
    cosines = torch.nn.functional.cosine_similarity(pooled, data.teacher)
    wanted = (1 - cosines[[0, 2]]).mean()
    loss = value(AlignedObjective(PLAIN, teacher=1.0), net, data)
    torch.testing.assert_close(loss.parts["teacher"] / loss.steps, wanted.detach())


def test_two_heads_heed_who_has_which_text_and_the_weight() -> None:
    data = batch(targets=(((1,), None, None), (None, (2,), (3,))))
    net = model(Extras((1,)), heads=2)
    parts = value(AlignedObjective(PLAIN, inter=1.0), net, data).parts
    outputs = net(data.features, data.lengths, wanted="all")
    first = ctc_loss(outputs.heads[0][:1], outputs.lengths[:1], [(1,)])
    second = ctc_loss(outputs.heads[1][1:], outputs.lengths[1:], [(2,), (3,)])
    torch.testing.assert_close(parts["ctc"], first.detach())
    torch.testing.assert_close(parts["ctc_dialect"], second.detach())
    weighted = CtcObjective(augment=None, standard_weight=3.0)
    loss = value(weighted, net.bare(), data)
    torch.testing.assert_close(loss.total, 0.5 * (3 * first + second))


def test_with_two_views_text_missing_in_one_is_missing_in_both() -> None:
    data = batch(targets=(((1, 2), None, (2, 2, 4)),))
    objective = CtcObjective("cr-ctc", augment=None, cr_warmup=0)
    whole = value(AlignedObjective(objective, teacher=1.0, contrast=1.0), model(), data)
    kept = batch(
        ids=("a", "c"),
        features=data.features[[0, 2]],
        lengths=data.lengths[[0, 2]],
        targets=(((1, 2), (2, 2, 4)),),
    )
    torch.testing.assert_close(
        whole.parts["ctc"], value(objective, model().bare(), kept).parts["ctc"]
    )
    # Equal views: as with one.
    single = value(AlignedObjective(PLAIN, teacher=1.0, contrast=1.0), model(), data)
    for name in ("teacher", "contrastive"):
        torch.testing.assert_close(whole.parts[name], single.parts[name])


@pytest.mark.parametrize("name", ["inter", "teacher", "contrast"])
def test_the_gradient_of_each_loss_reaches_the_encoder(name: str) -> None:
    net = model(dataclasses.replace(ALL, stacks=(2,)))
    # An utterance with no target at all: the only gradient is the further loss's.
    silent = batch(targets=((None, None, None),), inter=((1, 2), (3,), (2,)))
    value(AlignedObjective(PLAIN, **{name: 1.0}), net, silent).total.backward()
    gradient = net.encoder_embed.out.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_a_batch_without_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="no texts"):
        value(AlignedObjective(PLAIN, contrast=1.0), model(), batch(texts=None))
    with pytest.raises(ValueError, match="teacher"):
        value(AlignedObjective(PLAIN, teacher=1.0), model(), batch(teacher=None))


def test_a_narrow_stack_cannot_share_the_final_output() -> None:
    shape = ZipformerConfig.of_size("small")
    with pytest.raises(ValueError, match="inter_ctc_heads"):
        AlignedModel(shape, 5, Extras((1,), own_heads=False))


def test_the_middle_stack_is_the_default() -> None:
    assert inner_stacks(ZipformerConfig.of_size("tiny"), ()) == (3,)
    assert inner_stacks(small_shape(), (2, 1)) == (2, 1)
    with pytest.raises(ValueError, match="1 to 2"):
        inner_stacks(small_shape(), (3,))


def test_an_utterance_vector_needs_a_teacher() -> None:
    with pytest.raises(ValueError, match="pooled_teacher"):
        model(Extras((1,))).utterance_vectors(torch.zeros(1, 2, 16), torch.tensor([2]))
