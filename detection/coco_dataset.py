"""Detection data in COCO's layout, read so that nothing is dropped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS

from detection import check, coco_annotations
from detection.coco_annotations import Split
from detection.coco_source import LAYOUT
from detection.counted import CountedDataset
from refaug_det.data.sources import DROPPED, NOTE, Fault, refuse
from refaug_det.errors import UserError

HOW_TO_GET = (f'pass --data-root DIR with {LAYOUT} in it '
              '(COCO 2017: refaug-det data prepare coco --root DIR)')


@DATASETS.register_module()
class RefAugCocoDataset(CountedDataset, CocoDataset):
    """mmdet's COCO dataset, read by the judgement of `refaug-det data check`.

    A label is the place of the category's name in `metainfo.classes`, whatever the order and the
    ids in the file. Images come by rising id, as COCO's evaluation takes them, and are named by
    their file. A crowd is `ignore_flag`, and so is an object marked `ignore`: training neither
    asks for it nor forbids it. COCO's metrics know crowds alone, and require the other.

    Of a test split, degenerate boxes and those outside the image stay, and are only noted: COCO's
    evaluation asks for them. There an object has `as_filed`: x, y, width, height, area, iscrowd.

    Args:
        As `CountedDataset` and mmdet's `CocoDataset`.
    """

    @staticmethod
    def class_names(settings: Mapping[str, Any]) -> list[str]:
        """Names of the categories that have objects where these settings point, sorted.

        Raises:
            UserError: there is no such file, or it is malformed; or it has no objects.
        """
        path = Path(settings['data_root']) / settings['ann_file']
        _require(path)
        value, faults = coco_annotations.parse(path)
        refuse(faults)
        names = coco_annotations.class_names(value or {})
        if not names:
            raise UserError('no objects in the annotations', path, HOW_TO_GET)
        return sorted(names)

    def load_data_list(self) -> list[dict]:
        path, folder = Path(self.ann_file), Path(self.data_prefix.get('img', self.data_root))
        for part in (path, folder):
            _require(part)
        split = coco_annotations.read(path, folder)
        known = {name: label for label, name in enumerate(self._metainfo['classes'])}
        self.cat2label = {key: known[name] for key, name in split.categories.items()
                          if name in known}
        others = Counter(split.categories[row['category_id']] for rows in split.objects.values()
                         for row, _ in rows if row['category_id'] not in self.cat2label)
        faults = [each._replace(level=NOTE) if self.test_mode and each.kind in (
            'degenerate box', 'box outside the image') else each for each in split.faults]
        if not self.drop_unknown:
            faults += [_unknown(name, count, len(known), path) for name, count in others.items()]
        self._count(faults)
        if others:
            self.dropped['left-out class'] = sum(others.values())
        rows = [self._row(image, folder, split) for image in split.images]
        self.image_ids = [row['img_id'] for row in rows]
        return rows

    def _row(self, image: Mapping[str, Any], folder: Path, split: Split) -> dict:
        """As mmdet's `parse_data_info`."""
        path, root = folder / image['file_name'], self.data_root
        return dict(
            img_path=str(path), width=image['width'], height=image['height'],
            img_id=(path.relative_to(root) if path.is_relative_to(root) else path).as_posix(),
            instances=[self._instance(row) for row, kind in split.objects[image['id']]
                       if row['category_id'] in self.cat2label
                       and (self.test_mode or check.RULES.get(kind, ('',))[0] != DROPPED)])

    def _instance(self, row: Mapping[str, Any]) -> dict[str, Any]:
        left, top, width, height = row['bbox']
        crowd = int(row.get('iscrowd', 0))
        made = dict(bbox=[left, top, left + width, top + height],
                    bbox_label=self.cat2label[row['category_id']],
                    ignore_flag=int(crowd or bool(row.get('ignore'))))
        return dict(made, as_filed=[*row['bbox'], row['area'], crowd]) if self.test_mode else made


def _unknown(name: str, count: int, known: int, path: Path) -> Fault:
    return check.fault('unknown class', f'class {name!r:.60} of {count} objects is not among the '
                       f'{known} known', path)


def _require(path: Path) -> None:
    if not path.exists():
        raise UserError('the data set is not here in COCO\'s layout', path, HOW_TO_GET)
