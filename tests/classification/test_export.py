"""What a finished run puts into the zoo: weights, spec, provenance and the row they belong to."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from safetensors.torch import save_file

import classification.train  # noqa: F401  (registration)
from classification.export import refuse_taken_names, register_backbones, spec_of
from classification.refinement import AUGMENTED_WEIGHTS
from refaug_det.backbones import resnets, zoo
from refaug_det.errors import UserError
from refaug_det.runs import files, history
from refaug_det.runs.records import RunRecord

ROWS = [dict(epoch=epoch, iteration=2 * epoch, phase='augmented' if epoch < 3 else 'refinement',
             lr=0.1, loss=1.0, augmented_share=float(epoch < 3), **{'top-1': 10.0 * epoch})
        for epoch in (1, 2, 3, 4)]


def classifier(seed=0):
    torch.manual_seed(seed)
    return MODELS.build(dict(
        type='RefAugClassifier', num_classes=3,
        network=dict(type='RefAugResNet', depth=18, width=8),
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[1.0, 2.0, 3.0],
                               std=[4.0, 5.0, 6.0])))


@pytest.fixture
def record():
    return RunRecord(name='net', stage='classification', config='c.py', config_digest='d', seed=7)


@pytest.fixture
def work_dir(tmp_path):
    files.write_json(tmp_path / history.FILE_NAME, ROWS)
    return tmp_path


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_spec():
    spec = spec_of(classifier())
    assert (spec.architecture, spec.width) == ('resnet18', 8)
    assert spec.out_channels == (8, 16, 32, 64)
    assert spec.out_strides == (4, 8, 16, 32)
    assert (spec.mean, spec.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert spec.channel_order == 'RGB'


def test_a_refined_run_gives_two(work_dir, record):
    before, after = classifier(1), classifier(2)
    state = before.network.backbone_state()
    save_file(before.network.state_dict(), work_dir / AUGMENTED_WEIGHTS)
    cards = register_backbones(after, work_dir, record, 'net')
    assert [card.name for card in cards] == zoo.names() == ['net-augmented', 'net-refined']
    assert [card.metrics for card in cards] == [{'top-1': 20.0}, {'top-1': 40.0}]
    assert [card.provenance['epoch'] for card in cards] == [2, 4]
    assert [card.provenance['phase'] for card in cards] == ['augmented', 'refinement']
    assert [card.provenance['augmentation_ended'] for card in cards] == [False, True]
    for card in cards:
        assert zoo.verify(card.name) == zoo.card(card.name) == card
        assert card.provenance['run'] == record.id
        assert (card.provenance['seed'], card.provenance['config']) == (7, 'c.py')
    assert same(zoo.weights('net-augmented'), state)
    assert same(zoo.weights('net-refined'), after.network.backbone_state())
    assert not same(zoo.weights('net-refined'), state)


def test_another_run_gives_one(work_dir, record):
    model = classifier()
    card, = register_backbones(model, work_dir, record, 'net')
    assert zoo.names() == [card.name] == ['net']
    assert (card.provenance['phase'], card.provenance['augmentation_ended']) == (None, True)
    assert card.metrics == {'top-1': 40.0}
    resnets.reference('resnet18', 8).load_state_dict(zoo.weights('net'))  # loads whole


def test_a_run_that_was_never_refined_says_so(work_dir, record):
    files.write_json(work_dir / history.FILE_NAME, [{**row, 'phase': None} for row in ROWS])
    card, = register_backbones(classifier(), work_dir, record, 'net')
    assert card.provenance['augmentation_ended'] is False


def test_other_weights_do_not_take_a_name_unasked(work_dir, record):
    first, = register_backbones(classifier(1), work_dir, record, 'net')
    again, = register_backbones(classifier(1), work_dir, record, 'net')
    assert again.sha256 == first.sha256
    with pytest.raises(UserError, match='other weights'):
        register_backbones(classifier(2), work_dir, record, 'net')
    assert zoo.verify('net').sha256 == first.sha256
    other, = register_backbones(classifier(2), work_dir, record, 'net', overwrite=True)
    assert zoo.verify('net').sha256 == other.sha256 != first.sha256


@pytest.mark.parametrize(('epochs', 'taken', 'free'), [(1, 'net-refined', 'net'),
                                                       (0, 'net', 'net-refined')])
def test_a_name_of_another_run_is_refused_before_training(work_dir, record, epochs, taken, free):
    hook = dict(type='RefAugRefinementHook', epochs=epochs)
    cfg = Config(dict(train_cfg=dict(max_epochs=3), custom_hooks=[hook]))
    register_backbones(classifier(), work_dir, record, taken)
    register_backbones(classifier(), work_dir, record, free)
    refuse_taken_names(cfg, record, 'net')  # the same run again
    other = RunRecord(name='net', stage='classification', config_digest='d', seed=7)
    with pytest.raises(UserError, match=f"as '{taken}'"):
        refuse_taken_names(cfg, other, 'net')
    refuse_taken_names(cfg, other, 'new')


def test_weights_that_are_not_finite_are_refused(work_dir, record):
    model = classifier()
    model.network.net.conv1.weight.data[0, 0, 0, 0] = float('nan')
    with pytest.raises(UserError, match='not finite'):
        register_backbones(model, work_dir, record, 'net')
    assert zoo.names() == []


def timm_classifier(name, **options):
    return MODELS.build(dict(
        type='RefAugClassifier', num_classes=3,
        network=dict(type='RefAugTimm', name=name, **options),
        data_preprocessor=dict(type='RefAugImagePreprocessor', mean=[1.0, 2.0, 3.0],
                               std=[4.0, 5.0, 6.0])))


@pytest.mark.parametrize('name', ['test_resnet', 'test_efficientnet', 'convnext_atto'])
def test_a_pyramid_of_timm_is_registered_whole(work_dir, record, name):
    before, after = timm_classifier(name), timm_classifier(name)
    save_file(before.network.state_dict(), work_dir / AUGMENTED_WEIGHTS)
    cards = register_backbones(after, work_dir, record, 'net')
    assert [card.spec for card in cards] == 2 * [spec_of(after)]
    assert cards[0].spec == resnets.spec_of(f'timm/{name}', 64, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    net = resnets.reference(f'timm/{name}').eval()
    image = torch.randn(1, 3, 64, 64)
    maps = []
    for card in cards:
        net.load_state_dict(zoo.weights(card.name))
        maps.append(net(image)[-1])
    last = after.eval().network.net.forward_intermediates(image, intermediates_only=True)[-1]
    assert torch.equal(maps[1], last)
    assert not torch.equal(maps[0], last)


@pytest.mark.parametrize(('network', 'said'), [
    (dict(name='test_vit'), 'cannot be a detector backbone'),
    (dict(name='test_resnet', in_chans=3, layers=(2, 1, 1, 1)), 'not those of timm/test_resnet')])
def test_another_network_of_timm_is_not_registered_and_the_record_says_so(work_dir, record,
                                                                         network, said):
    assert register_backbones(timm_classifier(**network), work_dir, record, 'net') == []
    assert zoo.names() == []
    assert said in record.notes[-1]
