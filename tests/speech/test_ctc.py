from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.speech.ctc import (
    CtcModel,
    cr_ctc_loss,
    ctc_loss,
    output_steps,
    steps_needed,
    unfit_targets,
    warm_up_factor,
)
from isogloss.speech.zipformer import SpeechEncoder, ZipformerConfig

torch.set_num_threads(1)


def log_probs_of(*shape: int, seed: int = 0, requires_grad: bool = False) -> torch.Tensor:
    logits = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return logits.log_softmax(-1).requires_grad_(requires_grad)


def enumerated(log_probs: torch.Tensor, target: list[int]) -> torch.Tensor:
    """Minus the log of the summed probability of all paths (T, V) that read as `target`."""
    steps, units = log_probs.shape
    paths = [
        sum(log_probs[t, unit] for t, unit in enumerate(path))
        for path in itertools.product(range(units), repeat=steps)
        if [unit for unit, _ in itertools.groupby(path) if unit] == target
    ]
    return -torch.stack(paths).logsumexp(0)


@pytest.mark.parametrize("target", [[], [1], [2, 1], [1, 1], [1, 2, 1]])
def test_ctc_is_the_sum_over_all_paths_in_value_and_gradient(target: list[int]) -> None:
    logits = torch.randn(4, 3, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    ours, ours_grad = value_and_grad(
        logits, lambda x: ctc_loss(x.log_softmax(-1)[None], torch.tensor([4]), [target])
    )
    brute, brute_grad = value_and_grad(logits, lambda x: enumerated(x.log_softmax(-1), target))
    torch.testing.assert_close(ours, brute)
    torch.testing.assert_close(ours_grad, brute_grad)


def value_and_grad(logits: torch.Tensor, loss):
    leaf = logits.clone().requires_grad_(True)
    value = loss(leaf)
    value.backward()
    return value.detach(), leaf.grad


def test_ctc_sums_over_utterances_and_ignores_padding() -> None:
    targets = [[1, 2], [3], []]
    lengths = torch.tensor([5, 3, 2])
    batch = log_probs_of(3, 5, 4)
    alone = sum(
        ctc_loss(batch[i : i + 1, :n], lengths[i : i + 1], [targets[i]])
        for i, n in enumerate(lengths)
    )
    torch.testing.assert_close(ctc_loss(batch, lengths, targets), alone)
    leaf = torch.cat([batch, log_probs_of(3, 4, 4, seed=7)], dim=1).requires_grad_(True)
    longer = ctc_loss(leaf, lengths, targets)
    torch.testing.assert_close(longer, alone)
    longer.backward()
    for i, n in enumerate(lengths):
        assert leaf.grad[i, n:].abs().sum() == 0
        assert leaf.grad[i, :n].abs().sum() > 0


def test_half_precision_is_summed_in_single() -> None:
    loss = ctc_loss(log_probs_of(1, 4, 3).to(torch.bfloat16), torch.tensor([4]), [[1, 2]])
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        ctc_loss(log_probs_of(1, 4, 3), torch.tensor([4]), [[1, 2]]).item(), rel=0.02
    )


@pytest.mark.parametrize(("tokens", "steps"), [([], 0), ([1], 1), ([1, 1], 3), ([1, 2, 2, 2], 6)])
def test_steps_needed_by_hand(tokens: list[int], steps: int) -> None:
    assert steps_needed(tokens) == steps


def test_targets_that_do_not_fit_are_named() -> None:
    targets, lengths = [[1, 1], [1, 2], []], torch.tensor([2, 2, 1])
    assert unfit_targets(targets, lengths) == [0]
    assert unfit_targets(targets, [3, 1, 0]) == [1, 2]
    with pytest.raises(ValueError, match=r"1 of 3 .* clip-a \(3 steps needed, 2 there\)"):
        ctc_loss(log_probs_of(3, 2, 3), lengths, targets, names=["clip-a", "clip-b", "clip-c"])
    # The limit itself is finite.
    fits = ctc_loss(log_probs_of(1, 3, 3), torch.tensor([3]), [[1, 1]])
    assert fits.isfinite()
    with pytest.raises(ValueError, match="3 targets for 2 lengths"):
        unfit_targets(targets, [1, 2])


@pytest.mark.parametrize(
    ("targets", "lengths", "problem"),
    [
        ([[0]], [3], "unit 0"),
        ([[3]], [3], "units run from 1 to 2"),
        ([[1], [1]], [3], "2 targets for 1 utterances"),
        ([[1]], [4], "for 3 steps"),
        ([[1]], [3, 3], "expected"),
    ],
)
def test_bad_batches_are_refused(targets, lengths, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ctc_loss(log_probs_of(1, 3, 3), torch.tensor(lengths), targets)
    with pytest.raises(ValueError, match="at least one utterance"):
        ctc_loss(torch.zeros(0, 3, 3), torch.zeros(0, dtype=torch.long), [])


def test_cr_ctc_of_one_step_by_hand() -> None:
    # One step, so CTC of [1] is -log p(1). With respect to the logits of view a its gradient is
    # p - (0, 1), that of KL(q || p) with q constant is p - q; both count half.
    logits = torch.tensor([[[0.0, 0.0]], [[1.0, -1.0]]], dtype=torch.double, requires_grad=True)
    loss = cr_ctc_loss(
        logits.log_softmax(-1), torch.tensor([1, 1]), [[1]], cr_scale=0.2, warm_up=0.5
    )
    p, q = logits.detach().softmax(-1)[:, 0]
    ctc = -0.5 * (p[1].log() + q[1].log())
    consistency = 0.5 * ((q * (q / p).log()).sum() + (p * (p / q).log()).sum())
    torch.testing.assert_close(loss.ctc, ctc)
    torch.testing.assert_close(loss.consistency, consistency)
    torch.testing.assert_close(loss.total.detach(), ctc + 0.1 * consistency)
    loss.total.backward()
    target = torch.tensor([0.0, 1.0], dtype=torch.double)
    torch.testing.assert_close(logits.grad[0, 0], 0.5 * (p - target) + 0.1 * 0.5 * (p - q))
    torch.testing.assert_close(logits.grad[1, 0], 0.5 * (q - target) + 0.1 * 0.5 * (q - p))


def test_equal_views_give_plain_ctc() -> None:
    one = log_probs_of(2, 6, 5)
    lengths, targets = torch.tensor([6, 4]), [[1, 2, 3], [4]]
    loss = cr_ctc_loss(torch.cat([one, one]), torch.cat([lengths, lengths]), targets)
    assert loss.consistency.item() == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(loss.total, ctc_loss(one, lengths, targets))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_cr_ctc_is_symmetric_in_the_views_and_ignores_padding(seed: int, more: int) -> None:
    a, b = log_probs_of(2, 5, 4, seed=seed), log_probs_of(2, 5, 4, seed=seed + 1)
    lengths, targets = torch.tensor([5, 3]), [[1, 1], [2, 3]]
    both = torch.cat([lengths, lengths])
    loss = cr_ctc_loss(torch.cat([a, b]), both, targets)
    swapped = cr_ctc_loss(torch.cat([b, a]), both, targets)
    torch.testing.assert_close(loss.total, swapped.total)
    assert loss.consistency >= 0
    padding = torch.full((4, more, 4), float("nan"), dtype=torch.double)
    leaf = torch.cat([torch.cat([a, b]), padding], dim=1).requires_grad_(True)
    padded = cr_ctc_loss(leaf, both, targets)
    torch.testing.assert_close(padded.total, loss.total)
    padded.total.backward()
    assert leaf.grad[:, 5:].nan_to_num(1.0).abs().sum() == 0
    # One utterance after the other gives the same sum.
    singly = [
        cr_ctc_loss(
            torch.stack([a[i, :n], b[i, :n]]), torch.tensor([n, n]), [targets[i]]
        ).consistency
        for i, n in enumerate(lengths.tolist())
    ]
    torch.testing.assert_close(loss.consistency, singly[0] + singly[1])


def test_views_that_do_not_match_are_refused() -> None:
    log_probs = log_probs_of(4, 5, 4)
    with pytest.raises(ValueError, match="of equal lengths"):
        cr_ctc_loss(log_probs, torch.tensor([5, 5, 5, 4]), [[1], [1]])
    with pytest.raises(ValueError, match="2 views of 1 targets"):
        cr_ctc_loss(log_probs[:3], torch.tensor([5, 5, 5]), [[1]])
    with pytest.raises(ValueError, match="clip-b"):
        cr_ctc_loss(
            log_probs, torch.tensor([5, 1, 5, 1]), [[1], [1, 2]], names=["clip-a", "clip-b"]
        )


def test_warm_up_rises_linearly_to_one() -> None:
    assert [warm_up_factor(step, 4) for step in (-1, 0, 1, 2, 4, 9)] == [0, 0, 0.25, 0.5, 1, 1]
    assert warm_up_factor(0, 0) == 1.0


@pytest.fixture(scope="module")
def model() -> CtcModel:
    torch.manual_seed(0)
    return CtcModel(ZipformerConfig.of_size("tiny"), 11, dialect_head=True).eval()


def test_model_gives_log_probabilities_at_25_hz(model: CtcModel) -> None:
    features, lengths = torch.randn(2, 130, 80), torch.tensor([130, 90])
    with torch.no_grad():
        log_probs, out_lengths = model(features, lengths)
        first, same_lengths, dialect = model(features, lengths, both=True)
        states, _ = model.states(features, lengths)
    assert log_probs.shape == (2, output_steps(130), 11)
    assert out_lengths.tolist() == same_lengths.tolist() == [output_steps(130), output_steps(90)]
    assert torch.equal(first, log_probs)
    assert not torch.allclose(dialect, log_probs)
    for head in (log_probs, dialect):
        torch.testing.assert_close(head.exp().sum(-1), torch.ones(head.shape[:2]))
    weight, bias = model.ctc_output[1].weight, model.ctc_output[1].bias
    torch.testing.assert_close(log_probs, (states @ weight.T + bias).log_softmax(-1))


def test_padding_does_not_reach_the_output(model: CtcModel) -> None:
    features = torch.randn(2, 130, 80)
    lengths = torch.tensor([130, 90])
    with torch.no_grad():
        batched, _ = model(features, lengths)
        alone, (steps,) = model(features[1:, :90], lengths[1:])
    torch.testing.assert_close(batched[1, :steps], alone[0, :steps], atol=1e-5, rtol=0)


def test_state_has_icefall_names_and_loads_into_an_encoder(model: CtcModel) -> None:
    names = {name.split(".")[0] for name in model.state_dict()}
    assert names == {"encoder_embed", "encoder", "ctc_output", "ctc_output_dialect"}
    assert model.state_dict()["ctc_output.1.weight"].shape == (11, 128)
    encoder = SpeechEncoder(model.config).eval()
    missing, extra = encoder.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith("ctc_output") for name in extra)
    features, lengths = torch.randn(1, 60, 80), torch.tensor([60])
    with torch.no_grad():
        expected = encoder.forward_layers(features, lengths)[-1][0]
        assert torch.equal(model.forward_layers(features, lengths)[-1][0], expected)
        assert torch.equal(model.states(features, lengths)[0], expected)


def test_both_heads_learn_from_one_backward_pass() -> None:
    torch.manual_seed(0)
    model = CtcModel(ZipformerConfig.of_size("tiny"), 6, dialect_head=True)
    standard, lengths, dialect = model(torch.randn(1, 60, 80), torch.tensor([60]), both=True)
    (ctc_loss(standard, lengths, [[2, 3]]) + ctc_loss(dialect, lengths, [[4]])).backward()
    for name in ("ctc_output.1.weight", "ctc_output_dialect.1.weight"):
        assert dict(model.named_parameters())[name].grad.abs().sum() > 0


def test_models_that_cannot_be_are_refused(model: CtcModel) -> None:
    with pytest.raises(ValueError, match="at least one unit"):
        CtcModel(model.config, 1)
    plain = CtcModel(model.config, 5)
    assert not plain.has_dialect_head
    with pytest.raises(ValueError, match="no dialect head"):
        plain(torch.randn(1, 60, 80), torch.tensor([60]), both=True)


@pytest.mark.parametrize(("frames", "steps"), [(0, 0), (8, 0), (9, 1), (10, 1), (300, 73)])
def test_output_steps_by_hand(frames: int, steps: int) -> None:
    assert output_steps(frames) == steps
