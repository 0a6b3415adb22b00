"""Fused operations against their plain forms, in value, gradient and in what they keep."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from isogloss.speech import fused
from isogloss.speech.fused import activated_linear, gated

torch.set_num_threads(1)
_SWOOSH = {"L": (4.0, 0.035), "R": (1.0, 0.313261687)}


def swoosh(x: Tensor, kind: str) -> Tensor:
    offset, constant = _SWOOSH[kind]
    return torch.logaddexp(torch.zeros_like(x), x - offset) - 0.08 * x - constant


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# With 40 elements at once: all in one block, whole utterances together, parts of a long one.
@pytest.mark.parametrize("shape", [(1, 2, 5), (5, 2, 5), (4, 3, 5), (2, 19, 5), (0, 3, 5)])
@pytest.mark.parametrize("kind", ["L", "R"])
@pytest.mark.parametrize("masked", [True, False])
def test_activated_linear_equals_its_plain_form(
    shape: tuple[int, int, int], kind: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_BLOCK", 40)
    mask = (random(shape[0], 1, shape[2], seed=4) > 0) / 0.7 if masked else None
    data = [3 * random(*shape), random(7, shape[2], seed=1), random(7, seed=2)]
    pull = random(*shape[:2], 7, seed=3)
    results = []
    for is_fused in (True, False):
        x, weight, bias = (part.clone().requires_grad_() for part in data)
        if is_fused:
            out = activated_linear(x, weight, bias, kind=kind, mask=mask)
        else:
            active = swoosh(x, kind) if mask is None else swoosh(x, kind) * mask
            out = F.linear(active, weight, bias)
        out.backward(pull)
        results.append([out.detach(), x.grad, weight.grad, bias.grad])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_gradients_by_differences() -> None:
    mask = (random(3, 1, 4, seed=4) > 0).double()
    parts = [random(3, 2, 4).requires_grad_(), random(5, 4, seed=1).requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda x, w: activated_linear(x, w, None, kind="R", mask=mask), parts
    )
    for kind in ("sigmoid", "tanh"):
        pair = [random(3, 4).requires_grad_(), random(3, 4, seed=1).requires_grad_()]
        assert torch.autograd.gradcheck(lambda v, g, kind=kind: gated(v, g, kind=kind), pair)


def test_parts_without_gradient_get_none() -> None:
    x, weight, bias = random(2, 3, 4), random(5, 4, seed=1), random(5, seed=2)
    activated_linear(x, weight, bias.requires_grad_(), kind="L").sum().backward()
    assert bias.grad.tolist() == [6.0] * 5
    x.requires_grad_()
    bias.grad = None
    activated_linear(x, weight, bias.detach(), kind="L").sum().backward()
    assert x.grad is not None and weight.grad is None and bias.grad is None


def test_turned_input() -> None:
    x, weight = random(4, 3, 2).permute(1, 2, 0).float(), random(5, 4, seed=1).float()
    found = activated_linear(x, weight, None, kind="L")
    torch.testing.assert_close(found, F.linear(swoosh(x, "L"), weight))


def test_follows_autocast() -> None:
    data = [random(2, 9, 6).float(), random(5, 6, seed=1).float(), random(5, seed=2).float()]
    parts = [part.clone().requires_grad_() for part in data]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = activated_linear(*parts, kind="L")
        out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert all(part.grad.dtype == torch.float32 for part in parts)
    torch.testing.assert_close(out.float(), activated_linear(*data, kind="L"), atol=0.1, rtol=0.05)


def kept(function: object) -> int:
    """Elements that a forward pass keeps, each piece of memory counted once."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = function()  # type: ignore[operator]
    assert alive is not None
    return sum(seen.values())


def test_only_inputs_are_kept() -> None:
    x, weight = random(3, 50, 20).requires_grad_(), random(5, 20, seed=1).requires_grad_()
    mask = torch.ones(3, 1, 20)
    count = kept(lambda: activated_linear(x, weight, None, kind="L", mask=mask))
    assert count == x.numel() + weight.numel() + mask.numel()
    pair = random(3, 50, 40).requires_grad_()
    assert kept(lambda: gated(*pair.chunk(2, dim=-1), kind="tanh")) == pair.numel()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda x: activated_linear(x, x[0], None, kind="M"), "L or R"),
        (lambda x: activated_linear(x[0], x[0], None, kind="L"), "N, T, C"),
        (lambda x: gated(x, x, kind="relu"), "sigmoid or tanh"),
        (lambda x: gated(x, x[0], kind="tanh"), "differ"),
    ],
)
def test_bad_arguments(call: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call(torch.zeros(2, 3, 4))  # type: ignore[operator]
