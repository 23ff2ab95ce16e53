"""The sigmoid focal loss, with the signatures of mmcv's compiled operators.

mmdet calls these on a GPU only; on the CPU it has a loss of its own in plain torch.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from detection.missing_operator import refuse


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor,
                               gamma: float, alpha: float) -> None:
    """Focal loss of every logit written into `output`, as `mmcv._ext.sigmoid_focal_loss_forward`.

    With p = sigmoid(x): -alpha (1 - p)^gamma log(p) at the target's class, and
    -(1 - alpha) p^gamma log(1 - p) at all others. Where p rounds to 0 or 1, mmcv cuts the
    logarithm off at about -87; here it goes on. Half precision is computed in float32.

    Args:
        input: (N, C) logits.
        target: (N,) int64 classes in [0, C]; C is background, of no class.
        weight: empty; weights of classes are not served.
        output: (N, C), overwritten; in nats.
        gamma: how strongly well-classified logits are discounted, >= 0.
        alpha: weight of the target's class, in [0, 1].

    Raises:
        MissingOperator: weights of classes were given.

    Source: Lin et al. 2017, equation 5; mmcv's sigmoid_focal_loss_cuda_kernel.cuh.
    """
    _refuse_weights(weight)
    logits = _at_least_float32(input)
    output.copy_(torchvision.ops.sigmoid_focal_loss(
        logits, _is_target(logits, target).to(logits.dtype), alpha, gamma))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor,
                                gamma: float, alpha: float) -> None:
    """Derivative of `sigmoid_focal_loss_forward`, logit by logit, written into `grad_input`.

    Args:
        grad_input: (N, C), overwritten.
        input: as in `sigmoid_focal_loss_forward`, and so are all other arguments.

    Raises:
        MissingOperator: weights of classes were given.
    """
    _refuse_weights(weight)
    x = _at_least_float32(input)
    p, q = x.sigmoid(), (-x).sigmoid()  # q = 1 - p, exact also where p rounds to 1
    log_p, log_q = functional.logsigmoid(x), functional.logsigmoid(-x)
    at_target = -alpha * q**gamma * (q - gamma * p * log_p)
    elsewhere = (1 - alpha) * p**gamma * (p - gamma * q * log_q)
    grad_input.copy_(torch.where(_is_target(x, target), at_target, elsewhere))


def _is_target(logits: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(logits.shape[1], device=logits.device)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _refuse_weights(weight: Tensor) -> None:
    if weight.numel():
        refuse('sigmoid_focal_loss with weights of classes')
