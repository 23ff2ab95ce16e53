"""The stand-ins for the sigmoid focal loss against the published formula, number by number."""

import math

import pytest
import torch
from torch.nn import functional

from detection.mmcv_operators import COMPILED, import_mmdet

SERVES = import_mmdet()

import mmcv.ops  # noqa: E402 - cannot be imported before the stand-ins are there
from mmdet.models.losses import FocalLoss, focal_loss  # noqa: E402

stand_ins_only = pytest.mark.skipif(SERVES == COMPILED, reason='mmcv is compiled here')
pytestmark = stand_ins_only  # mmcv's kernel is of the GPU only
TARGETS = torch.tensor([0, 2, 3, 1, 3])  # 3 is background


def logits(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    return (4 * torch.randn(5, 3, generator=draw, dtype=torch.float64)).to(dtype)


def published(x, targets, gamma, alpha):
    """FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t) (Lin et al. 2017, equation 5), in a loop."""
    out = torch.zeros(x.shape, dtype=torch.float64)
    for row, target in enumerate(targets.tolist()):
        for column in range(x.shape[1]):
            p = 1 / (1 + math.exp(-x[row, column].item()))
            of_target = column == target
            p_t, alpha_t = (p, alpha) if of_target else (1 - p, 1 - alpha)
            out[row, column] = -alpha_t * (1 - p_t)**gamma * math.log(p_t)
    return out


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
def test_values_are_the_published_formulas(gamma, alpha):
    found = mmcv.ops.sigmoid_focal_loss(logits(), TARGETS, gamma, alpha, None, 'none')
    torch.testing.assert_close(found, published(logits(), TARGETS, gamma, alpha))
    for other in ((gamma + 0.1, alpha), (gamma, alpha - 0.1)):
        assert (found - published(logits(), TARGETS, *other)).abs().max() > 1e-3


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
def test_gradients_are_those_of_finite_differences(gamma, alpha):
    x = logits().requires_grad_()

    def loss(x, gamma=gamma):
        return mmcv.ops.sigmoid_focal_loss(x, TARGETS, gamma, alpha, None, 'none')

    assert torch.autograd.gradcheck(loss, x)
    (gradient,) = torch.autograd.grad(loss(x).sum(), x)
    (other,) = torch.autograd.grad(loss(x, gamma + 0.1).sum(), x)
    assert (gradient - other).abs().max() > 1e-3


def test_far_logits_stay_finite_and_right():
    x = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
    targets = torch.tensor([1, 0])
    loss = mmcv.ops.sigmoid_focal_loss(x, targets, 2.0, 0.25, None, 'none')
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([[150.0, 50.0], [0.0, 0.0]]))
    torch.testing.assert_close(x.grad, torch.tensor([[0.75, -0.25], [0.0, 0.0]]))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    x = logits(dtype).requires_grad_()
    wide = x.detach().float().requires_grad_()
    results = [mmcv.ops.sigmoid_focal_loss(part, TARGETS, 2.0, 0.25, None, 'none')
               for part in (x, wide)]
    for part in results:
        part.sum().backward()
    assert results[0].dtype == x.grad.dtype == dtype
    assert torch.equal(results[0], results[1].to(dtype))
    assert torch.equal(x.grad, wide.grad.to(dtype))


def test_no_logits_give_no_loss():
    x = torch.zeros(0, 3, requires_grad=True)
    mmcv.ops.sigmoid_focal_loss(x, TARGETS[:0], 2.0, 0.25, None, 'sum').backward()
    assert x.grad.shape == (0, 3)


def test_mmdets_loss_is_the_same_through_them_as_on_the_cpu():
    """On a GPU mmdet's FocalLoss calls `sigmoid_focal_loss`, on the CPU plain torch."""
    x, weight = logits().requires_grad_(), torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0])
    on_cpu = FocalLoss()(x, TARGETS, weight, avg_factor=3)
    through = focal_loss.sigmoid_focal_loss(x, TARGETS, weight, avg_factor=3)
    torch.testing.assert_close(through, on_cpu)
    gradients = [torch.autograd.grad(value, x)[0] for value in (through, on_cpu)]
    torch.testing.assert_close(*gradients)
    one_hot = functional.one_hot(TARGETS, 4)[:, :3]
    other = focal_loss.py_sigmoid_focal_loss(x, 1 - one_hot, weight, avg_factor=3)
    assert (through - other).abs() > 1e-2
