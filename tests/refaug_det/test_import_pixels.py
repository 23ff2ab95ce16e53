"""After import, one image gives the features it gave the original network, however that was fed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from refaug_det.backbones import zoo
from refaug_det.backbones.importing import add
from refaug_det.backbones.resnets import build, reference

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


@pytest.fixture(scope='module')
def network() -> torch.nn.Module:
    """Trained by someone: its statistics are no longer 0 and 1."""
    torch.manual_seed(0)
    net = build(18, 8, 5)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """Height x width x RGB, uint8; its channels differ."""
    return (np.random.default_rng(0).random((64, 64, 3)) * [255, 160, 80]).astype(np.uint8)


def features(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()


# name -> (file, what the authors' own code does to an RGB image of 0-255)
SOURCES = {
    'torchvision': (lambda s: s, {}, lambda x: (x / 255 - MEAN) / STD),
    'moco': (lambda s: {'state_dict': {f'module.encoder_q.{k}': v for k, v in s.items()}}, {},
             lambda x: (x / 255 - MEAN) / STD),
    'mmdet': (lambda s: mmlab(s, 'mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], '
                              'bgr_to_rgb=True'), {}, lambda x: (x / 255 - MEAN) / STD),
    'mmdet in BGR': (lambda s: mmlab(s, 'mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], '
                                     'bgr_to_rgb=False'), {},
                     lambda x: x[..., ::-1] - np.float32([103.53, 116.28, 123.675])),
    'detectron2': (lambda s: {'model': {
        **{f'backbone.bottom_up.{name(k)}': v for k, v in s.items()},
        'pixel_mean': torch.tensor([103.53, 116.28, 123.675]),
        'pixel_std': torch.tensor([57.375, 57.12, 58.395])}}, {},
        lambda x: (x[..., ::-1] / 255 - MEAN[::-1]) / STD[::-1]),
    'given, -1 to 1': (lambda s: {f'net.{k}': v for k, v in s.items()},
                       dict(mean=(127.5,) * 3, std=(127.5,) * 3, channel_order='BGR'),
                       lambda x: x[..., ::-1] / 127.5 - 1),
    'given, 0 to 1': (lambda s: s, dict(mean=(0.0,) * 3, std=(255.0,) * 3), lambda x: x / 255)}


def mmlab(state: dict, config: str) -> dict:
    return dict(meta=dict(cfg=f'data_preprocessor = dict({config})'),
                state_dict={f'backbone.{k}': v for k, v in state.items()})


def name(key: str) -> str:
    """detectron2's, of a ResNet-18."""
    for old, new in (('bn1', 'conv1.norm'), ('bn2', 'conv2.norm'), ('downsample.0', 'shortcut'),
                     ('downsample.1', 'shortcut.norm'), ('layer1', 'res2'), ('layer2', 'res3'),
                     ('layer3', 'res4'), ('layer4', 'res5')):
        key = key.replace(old, new)
    return key if key.startswith('res') else f'stem.{key}'


def registered(image: np.ndarray, order: str | None = None) -> torch.Tensor:
    """Features as a detector computes them: cv2 reads BGR, mmdet's preprocessor does the rest."""
    spec = zoo.card('mine').spec
    order = order or spec.channel_order
    prepare = ImgDataPreprocessor(list(spec.mean), list(spec.std), bgr_to_rgb=order == 'RGB')
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)
    net = reference(spec.architecture, spec.width).eval()
    net.load_state_dict(zoo.weights('mine'))
    return features(net, prepare({'inputs': [bgr]})['inputs'])


@pytest.mark.parametrize('source', SOURCES)
def test_features_are_those_of_the_original(tmp_path, network, image, source):
    write, given, prepare = SOURCES[source]
    torch.save(write(network.state_dict()), tmp_path / 'a.pth')
    add('mine', tmp_path / 'a.pth', **given)
    expected = features(network, tensor(prepare(image.astype(np.float32))))
    assert torch.allclose(registered(image), expected, rtol=1e-3, atol=1e-4)
    assert expected.abs().max() > 0.1
    order = zoo.card('mine').spec.channel_order
    wrong = registered(image, 'RGB' if order == 'BGR' else 'BGR')
    assert not torch.allclose(wrong, expected, rtol=0.1, atol=0.01)
    add('mine', tmp_path / 'a.pth', **{**given, 'mean': (90.0, 90.0, 90.0)}, overwrite=True)
    assert not torch.allclose(registered(image), expected, rtol=0.1, atol=0.01)
