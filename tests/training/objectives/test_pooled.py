from __future__ import annotations

import pytest
import torch

from isogloss.training.objectives import cosine_loss

torch.set_num_threads(1)
TAUGHT = torch.tensor([True, True, True])


def test_values_by_hand() -> None:
    vectors = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    teacher = torch.tensor([[5.0, 0.0], [0.0, -1.0], [1.0, 0.0]])
    # Cosines 1, -1 and 1 / sqrt 2.
    wanted = (0.0 + 2.0 + 1.0 - 0.5**0.5) / 3
    assert cosine_loss(vectors, teacher, TAUGHT).item() == pytest.approx(wanted)
    only = torch.tensor([False, True, False])
    assert cosine_loss(vectors, teacher, only).item() == pytest.approx(2.0)


def test_the_teacher_is_frozen_and_who_is_not_taught_is_left_alone() -> None:
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    cosine_loss(vectors, teacher, torch.tensor([True, False, True])).backward()
    assert teacher.grad is None
    assert vectors.grad is not None
    assert vectors.grad[1].abs().sum() == 0
    assert (vectors.grad[[0, 2]].abs().sum(dim=1) > 0).all()


def test_nobody_taught_is_no_loss_and_no_gradient() -> None:
    vectors = torch.ones(2, 3, requires_grad=True)
    loss = cosine_loss(vectors, torch.zeros(2, 3), torch.tensor([False, False]))
    loss.backward()
    assert loss.item() == 0.0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_zeros_have_cosine_0() -> None:
    loss = cosine_loss(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([True]))
    assert loss.item() == pytest.approx(1.0)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 4\)"):
        cosine_loss(torch.ones(2, 3), torch.ones(2, 4), torch.tensor([True, True]))
