"""Detection data in VOC layout, read so that nothing is dropped in silence."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from mmdet.datasets import VOCDataset
from mmengine.registry import DATASETS, TRANSFORMS

from refaug_det.errors import UserError
from refaug_det.images import decode, is_truncated
from refaug_det.runs import files

HOW_TO_GET = ('pass --data-root DIR with DIR/VOC2007/{Annotations,ImageSets,JPEGImages} '
              '(PASCAL VOC 2007: host.robots.ox.ac.uk/pascal/VOC/voc2007)')


@DATASETS.register_module()
class RefAugVOCDataset(VOCDataset):
    """mmdet's VOC dataset; counts what it leaves out, refuses what it does not know.

    Args:
        drop_unknown: leave out objects of classes that are not in
            `metainfo.classes`, and count them; otherwise they are an error.
        As mmdet's `VOCDataset` for the rest.

    `dropped` counts objects by reason: `degenerate box` (no area: mmdet's
    loss would become NaN) and `class NAME`.

    Raises:
        UserError: a file of the layout is missing or malformed, an unknown class.
    """

    def __init__(self, drop_unknown: bool = False, **kwargs: Any) -> None:
        self.drop_unknown = drop_unknown
        self.dropped: Counter[str] = Counter()
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        if not Path(self.ann_file).is_file():
            raise UserError('the data set is not here: no image list', self.ann_file, HOW_TO_GET)
        return super().load_data_list()

    def parse_data_info(self, img_info: dict) -> dict:
        try:
            return super().parse_data_info(img_info)
        except (ET.ParseError, AttributeError, ValueError, TypeError) as error:
            raise UserError(f'malformed annotation ({type(error).__name__}: {error})',
                            img_info['xml_path'], 'mend the XML, or take its id out of the list'
                            ) from None
        except FileNotFoundError as error:
            raise UserError('a listed image has no annotation or no picture',
                            error.filename, 'add the file, or take its id out of '
                            f'{self.ann_file}') from None

    def _parse_instance_info(self, raw_ann_info: Any, minus_one: bool = True) -> list[dict]:
        known = set(self._metainfo['classes'])
        for name in (obj.findtext('name') for obj in raw_ann_info.findall('object')):
            if name not in known:
                if not self.drop_unknown:
                    raise UserError(f'class {name!r} is not among the {len(known)} of the config',
                                    raw_ann_info.getroot().findtext('filename') or self.ann_file,
                                    'pass --classes auto, or --classes with the names to use')
                self.dropped[f'class {name}'] += 1
        kept = []
        for instance in super()._parse_instance_info(raw_ann_info, minus_one):
            x1, y1, x2, y2 = instance['bbox']
            if x2 > x1 and y2 > y1:
                kept.append(instance)
            else:
                self.dropped['degenerate box'] += 1
        return kept

    @property
    def truncated(self) -> list[str]:
        """Names of JPEGs that break off; they are decoded as far as they go."""
        paths = [Path(self.get_data_info(n)['img_path']) for n in range(len(self))]
        return [path.name for path in paths if path.is_file() and is_truncated(path)]

    def summary(self) -> dict[str, Any]:
        """What this split holds, for the record and the protocol.

        Returns:
            `images`, `objects` (difficult ones included), `sha256` over image
            ids, sizes and boxes, `dropped` and `truncated`.
        """
        rows = [[info['img_id'], info['width'], info['height'],
                 [[i['bbox_label'], i['ignore_flag'], *i['bbox']] for i in info['instances']]]
                for info in (self.get_data_info(n) for n in range(len(self)))]
        return dict(images=len(rows), objects=sum(len(row[3]) for row in rows),
                    sha256=files.digest([self._metainfo['classes'], rows]),
                    dropped=dict(self.dropped), truncated=self.truncated)


@TRANSFORMS.register_module()
class RefAugLoadImage:
    """Loads `img_path` as BGR, uint8 (H, W, 3), through `refaug_det.images.decode`."""

    def __call__(self, results: dict) -> dict:
        image = decode(results['img_path'], 'BGR')
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


def classes_in(data_root: str | Path) -> list[str]:
    """Names of the classes that occur in a VOC-layout folder, sorted.

    Raises:
        UserError: no annotations here, or one is malformed.
    """
    folders = [folder for folder in (Path(data_root) / 'VOC2007' / 'Annotations',
                                     Path(data_root) / 'Annotations') if folder.is_dir()]
    if not folders:
        raise UserError('no annotations here', Path(data_root) / 'VOC2007' / 'Annotations',
                        HOW_TO_GET)
    names: set[str] = set()
    for path in folders[0].glob('*.xml'):
        try:
            names |= {obj.findtext('name', '') for obj in ET.parse(path).iter('object')}
        except ET.ParseError as error:
            raise UserError(f'malformed annotation ({error})', path, 'mend the XML') from None
    if not names:
        raise UserError('no objects in the annotations', folders[0], HOW_TO_GET)
    return sorted(names)
