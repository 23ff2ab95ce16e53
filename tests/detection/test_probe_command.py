"""`refaug-det analyze probe` on drawn scenes: numbers, figure, words, and refusals."""

import json

import numpy as np
import pytest
import torch

from detection import stage_features
from detection.plug import find
from refaug_det import cli
from refaug_det.backbones import resnets, zoo


@pytest.fixture
def analyze(voc, tiny_backbone, tmp_path, capsys):
    def run(*words, data_root=voc, side='96'):
        capsys.readouterr()
        code = cli.main(['analyze', 'probe', *words, '--data-root', str(data_root), '--side', side,
                         '--output', str(tmp_path / 'out')])
        return (code, *capsys.readouterr())
    return run


def test_numbers_figure_and_words(analyze, tiny_backbone, tmp_path):
    code, out, err = analyze(tiny_backbone, f'random:{tiny_backbone}')
    assert (code, err) == (0, '')
    found = json.loads((tmp_path / 'out' / 'probe.json').read_text())
    assert found['images'] == dict(trainval=12, test=6)
    assert list(found['backbones']) == ['tiny', 'random resnet18 width 8']
    assert found['sha256']['tiny'] == zoo.card('tiny').sha256
    for stages in found['backbones'].values():
        assert list(stages) == list(stage_features.STAGES)
        for result in stages.values():
            for part in ('position', 'size'):
                assert result[part]['low'] <= result[part]['value'] <= result[part]['high'] <= 1
            assert result['places'] > 10
            assert result['spectrum']['effective_rank'] >= 1
    assert len(found['backbones']['tiny']['layer3']['spectrum']['covariance']) == 32
    for suffix in ('svg', 'png'):
        assert (tmp_path / 'out' / f'probe.{suffix}').stat().st_size > 1000
    assert 'layer4 position R2' in out
    before = (tmp_path / 'out' / 'probe.json').read_bytes()
    analyze(tiny_backbone, f'random:{tiny_backbone}')
    assert (tmp_path / 'out' / 'probe.json').read_bytes() == before
    code, out, err = analyze(tiny_backbone, '--json')
    told = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert told == json.loads((tmp_path / 'out' / 'probe.json').read_text())
    assert 'layer4 position R2' in err
    assert (tmp_path / 'out' / 'probe.json').read_bytes() != before


def test_features_are_the_backbones(voc, tiny_backbone):
    source = find(tiny_backbone)
    net = stage_features.build(source)
    image = next((voc / 'VOC2007' / 'JPEGImages').glob('*.jpg'))
    box = dict(bbox=[8, 8, 48, 40], ignore_flag=0)
    info = dict(img_path=str(image), instances=[box, dict(box, ignore_flag=1)])
    maps, boxes, shape = stage_features.stages_of(net, source, info, 192)
    assert [tuple(maps[stage].shape) for stage in stage_features.STAGES] == [
        (8 * 2**n, *(-(-side // (4 * 2**n)) for side in shape)) for n in range(4)]
    assert max(shape) == 192
    np.testing.assert_allclose(boxes, [[16, 16, 96, 80]])  # the file's pixels, doubled
    torch.manual_seed(1)
    other = resnets.reference('resnet18', 8)
    other.load_state_dict(zoo.weights('tiny'), strict=False)
    other.eval()
    again, _, _ = stage_features.stages_of(other, source, info, 192)
    assert torch.equal(again['layer4'], maps['layer4'])
    random, _, _ = stage_features.stages_of(
        stage_features.build(find(f'random:{tiny_backbone}')), source, info, 192)
    assert not torch.allclose(random['layer4'], maps['layer4'])


def test_channels_in_the_order_of_the_spec(voc, tiny_backbone):
    weights = zoo.weights(tiny_backbone)
    zoo.register('swapped', dict(weights, **{'conv1.weight': weights['conv1.weight'].flip(1)}),
                 resnets.spec_of('resnet18', 8, resnets.IMAGENET_MEAN[::-1],
                                 resnets.IMAGENET_STD[::-1], 'BGR'), provenance={}, metrics={})
    image = next((voc / 'VOC2007' / 'JPEGImages').glob('*.jpg'))
    info = dict(img_path=str(image), instances=[])
    rgb, bgr = (stage_features.stages_of(stage_features.build(source), source, info, 96)[0]
                for source in (find(tiny_backbone), find('swapped')))
    torch.testing.assert_close(rgb['layer2'], bgr['layer2'])
    wrong = stage_features.stages_of(stage_features.build(find('swapped')), find(tiny_backbone),
                                     info, 96)[0]
    assert not torch.allclose(wrong['layer2'], rgb['layer2'])


@pytest.mark.parametrize(('words', 'side', 'says'), [
    (('nobody',), '96', 'nobody'), (('tiny',), '8', '--side 8'), (('tiny',), 'big', 'side'),
    (('tiny', '--images', '1'), '96', 'too few objects')])
def test_refusals_are_three_lines(analyze, tmp_path, words, side, says):
    code, _, err = analyze(*words, side=side)
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) <= 3
    assert not (tmp_path / 'out').exists()


def test_no_data_here(analyze, tmp_path):
    code, _, err = analyze('tiny', data_root=tmp_path / 'nowhere')
    assert code == 2
    assert 'nowhere' in err
