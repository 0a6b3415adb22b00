from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isogloss.training.objectives import TextEncoder, info_nce
from isogloss.training.objectives.aligned import padded_units

torch.set_num_threads(1)


def test_two_pairs_by_hand() -> None:
    speech = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    text = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # Cosines [[1, r], [0, r]] with r = 1 / sqrt 2, times 2.
    r = 2 * 0.5**0.5
    by_speech = (math.log(1 + math.exp(r - 2)) + math.log(1 + math.exp(0 - r))) / 2
    by_text = (math.log(1 + math.exp(0 - 2)) + math.log(1 + math.exp(r - r))) / 2
    found = info_nce(speech, text, ["a", "b"], 2.0)
    assert found.item() == pytest.approx((by_speech + by_text) / 2, rel=1e-6)


@given(st.integers(2, 9))
def test_constant_vectors_give_log_n(n: int) -> None:
    ones = torch.ones(n, 3)
    assert info_nce(ones, ones, list(range(n)), 7.0).item() == pytest.approx(math.log(n), rel=1e-5)


def test_equal_texts_are_no_negatives_of_each_other() -> None:
    ones = torch.ones(4, 3)
    # Each of the twins has two rivals, each of the others three.
    wanted = (2 * math.log(3) + 2 * math.log(4)) / 4
    assert info_nce(ones, ones, ["x", "x", "y", "z"], 1.0).item() == pytest.approx(wanted)


def test_who_has_no_text_takes_no_part() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, text = torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator)
    found = info_nce(speech, text, ["a", None, "b"], 3.0)
    rest = [0, 2]
    torch.testing.assert_close(found, info_nce(speech[rest], text[rest], ["a", "b"], 3.0))


@pytest.mark.parametrize("names", [["a"], ["a", "a"], [None, "a"]])
def test_without_a_rival_there_is_no_loss(names: list[str | None]) -> None:
    speech = torch.ones(len(names), 2, requires_grad=True)
    loss = info_nce(speech, torch.ones(len(names), 2), names, 5.0)
    loss.backward()
    assert loss.item() == 0.0
    assert speech.grad is not None
    assert not speech.grad.any()


def test_roles_may_be_exchanged() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    names = ["p", "q", "p", "r", "s"]
    torch.testing.assert_close(info_nce(a, b, names, 9.0), info_nce(b, a, names, 9.0))


def test_text_vectors_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    net = TextEncoder(9, 4)
    texts = [(1, 2, 3, 4, 5, 6, 7), (8,), None, (3, 3)]
    together = net(*padded_units(texts, torch.device("cpu")))
    for i, text in enumerate(texts):
        alone = net(*padded_units([text], torch.device("cpu")))
        torch.testing.assert_close(together[i : i + 1], alone)
    # Order counts.
    there = net(*padded_units([(1, 2), (2, 1)], torch.device("cpu")))
    assert (there[0] - there[1]).abs().max() > 1e-4


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="3"):
        info_nce(torch.ones(2, 3), torch.ones(2, 3), ["a", "b", "c"], 1.0)
