from __future__ import annotations

import torch

from isogloss.training.objectives import AttentionPooling

torch.set_num_threads(1)


def pooling() -> AttentionPooling:
    torch.manual_seed(0)
    return AttentionPooling(6, 4).eval()


def test_padding_changes_no_vector() -> None:
    steps = torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([9, 4, 1])
    together = pooling()(steps, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = pooling()(steps[i : i + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(together[i : i + 1], alone)
    # Whatever stands in the padding.
    other = steps.clone()
    other[1, 4:] = 1e6
    torch.testing.assert_close(pooling()(other, lengths), together)


def test_equal_steps_pool_to_their_linear_map() -> None:
    net = pooling()
    step = torch.arange(6.0)
    steps = step.expand(2, 5, 6)
    expected = net.output(step).expand(2, 4)
    torch.testing.assert_close(net(steps, torch.tensor([5, 2])), expected)


def test_weights_follow_the_learnt_score() -> None:
    net = pooling()
    with torch.no_grad():
        net.hidden.weight.zero_()
        net.hidden.bias.zero_()
        net.hidden.weight[0, 0] = 100.0  # tanh of the first channel's sign
        net.weight.weight.zero_()
        net.weight.weight[0, 0] = 50.0
        net.output.weight.copy_(torch.eye(4, 6))
        net.output.bias.zero_()
    steps = torch.tensor([[[-1.0, 1, 2, 3, 0, 0], [1.0, 4, 5, 6, 0, 0], [-1.0, 7, 8, 9, 0, 0]]])
    wanted = torch.tensor([[1.0, 4.0, 5.0, 6.0]])
    torch.testing.assert_close(net(steps, torch.tensor([3])), wanted)


def test_an_utterance_without_steps_is_the_bias() -> None:
    net = pooling()
    vectors = net(torch.zeros(1, 3, 6), torch.tensor([0]))
    torch.testing.assert_close(vectors[0], net.output.bias)
