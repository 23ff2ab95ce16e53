"""What stage 2 adds to a report: errors as `analyze errors` has them, and examples."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from detection import detections, error_tables, report_sections
from detection.error_commands import measure
from detection.evaluate import metrics_of
from refaug_det.comparison.compare import compare
from refaug_det.reports import sections
from refaug_det.reports.sections import Material
from refaug_det.runs.records import RunRecord

HOSTILE = 'mix <b>$x^{$ "\x1b'
WIDTH, HEIGHT = 80, 60


@pytest.fixture
def runs(tmp_path, devkit):
    """Two seeds of the baseline, three of another, measured on the same objects."""
    rng = np.random.default_rng(7)
    truth = devkit.random_images(rng, count=12)
    names = ('boxes', 'scores', 'labels')
    for backbone, seeds in (('standard', (0, 1)), (HOSTILE, (1, 2, 3))):
        for seed in seeds:
            found = devkit.random_images(rng, count=12)
            kept = detections.of_images(('a', '<i>', 'c'), [dict(
                zip(names, other[3:], strict=True), gt_boxes=one[0], gt_labels=one[1],
                gt_difficult=one[2], image_ids=f'im{n}', image_sizes=(WIDTH, HEIGHT))
                for n, (one, other) in enumerate(zip(truth, found, strict=True))])
            folder = tmp_path / 'runs' / f'{len(backbone)}-{seed}'
            detections.save(kept, folder / detections.FILE_NAME)
            RunRecord(backbone, 'detection', 'done', seed=seed, protocol=dict(epochs=4),
                      metrics=metrics_of(kept), backbone=dict(
                          name=backbone, sha256=backbone, run=None)).write(folder)
            (folder / 'config.json').write_text(json.dumps(dict(test_dataloader=dict(
                dataset=dict(data_root=str(tmp_path / 'data'))))))
    return tmp_path / 'runs'


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'data' / 'VOC2007' / 'JPEGImages'
    folder.mkdir(parents=True)
    for n in range(12):
        Image.new('RGB', (WIDTH, HEIGHT), (20 * n, 90, 120)).save(folder / f'im{n}.jpg')
    return tmp_path / 'data'


def test_errors_are_those_of_the_command(runs):
    comparison = compare([runs])
    section = report_sections.errors(Material(comparison))
    found = measure(comparison, (0.5, 0.75), '11-point')
    expected = [error_tables.table(found, threshold) for threshold in ('0.5', '0.75')]
    assert [table.rows for table in section.tables] == [table.rows for table in expected]
    assert expected[0].rows != expected[1].rows
    assert section.words == tuple(error_tables.words(found, '0.5'))
    assert {*section.words, *section.notes} == {
        note.replace('t = 0.5', 't the IoU of a table') for note in expected[0].notes}
    assert any('t the IoU of a table' in note for note in section.notes)
    assert 'standard' in section.pictures[0].alt
    assert section.pictures[0].data.startswith(b'<?xml')
    area = report_sections.errors(Material(compare([runs], metric='AP50 (area)')))
    assert area.tables[0].title.startswith('AP50 (area)')
    assert area.tables[0].rows != expected[0].rows


def test_examples_are_of_the_baseline_and_the_best_of_the_others(runs, pictures):
    section = report_sections.examples(Material(compare([runs]), images=2))
    assert len(section.pictures) == 6
    groups = [picture.group for picture in section.pictures]
    assert groups == [groups[0]] * 3 + [groups[3]] * 3
    truth, first, second = section.pictures[:3]
    assert truth.caption.startswith('Ground truth: ')
    assert first.caption.startswith('standard, seed 1: ')  # the seed that both have
    assert second.caption.startswith(f'{HOSTILE}, seed 1: ')
    assert all(picture.alt.strip() for picture in section.pictures)
    shown = [Image.open(io.BytesIO(picture.data)) for picture in section.pictures[:3]]
    assert {image.size for image in shown} == {(560, 420)}  # the whole image, without a margin
    colour = np.median(np.asarray(shown[0]), axis=(0, 1))
    assert abs(colour - (20 * int(groups[0].removeprefix('im')), 90, 120)).max() < 12  # its image
    assert len({picture.data for picture in section.pictures}) == 6
    assert report_sections.examples(Material(compare([runs]), images=0)) is None
    again = report_sections.examples(Material(compare([runs]), images=2))
    assert again.pictures == section.pictures


def test_without_images_the_report_says_what_is_missing(runs, pictures, tmp_path):
    material = Material(compare([runs]), images=1, data_root=tmp_path / 'nowhere')
    section = report_sections.examples(material)
    assert section.pictures == ()
    assert 'no such image' in section.missing[0].what
    assert section.missing[0].command == 'refaug-det report RUNS --data-root DIR'
    for config in runs.glob('*/config.json'):
        config.unlink()
    section = report_sections.examples(Material(compare([runs]), images=1))
    assert 'does not say where its images lie' in section.missing[0].what
    found = report_sections.examples(Material(compare([runs]), images=1, data_root=pictures))
    assert len(found.pictures) == 3


def test_one_backbone_alone_is_shown_by_itself(runs, pictures):
    section = report_sections.examples(Material(compare(list(runs.glob('8-*'))), images=1))
    assert [picture.caption.split(':')[0] for picture in section.pictures] == [
        'Ground truth', 'standard, seed 0']
    assert 'on which it makes most errors' in section.words[0]


def test_detections_that_are_gone_cost_these_sections_only(runs, pictures):
    next(runs.glob('8-*/detections.npz')).unlink()
    material = Material(compare([runs]))
    found = [section for chapter, section in sections.offered(material) if chapter == 'origin']
    assert len(found) >= 2
    for section in found:
        assert 'no detections here (8-' in section.missing[0].what  # no path of this machine
