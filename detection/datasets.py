"""Detection data in VOC layout, read so that nothing is dropped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import VOCDataset
from mmengine.registry import DATASETS, TRANSFORMS

from detection import check, voc_xml
from refaug_det.data.sources import DROPPED, FATAL, NOTE, Fault
from refaug_det.errors import UserError
from refaug_det.images import decode
from refaug_det.runs import files

HOW_TO_GET = ('pass --data-root DIR with DIR/VOC2007/{Annotations,ImageSets,JPEGImages} '
              '(PASCAL VOC 2007: refaug-det data prepare voc2007 --root DIR)')


@DATASETS.register_module()
class RefAugVOCDataset(VOCDataset):
    """mmdet's VOC dataset, read by the judgement of `refaug-det data check`.

    Args:
        drop_unknown: leave out objects of classes that are not in
            `metainfo.classes`, and count them; otherwise they are an error.
        also: folders beside `data_prefix.sub_data_root`, such as VOC2012, whose list of the
            same name is read as well.
        As mmdet's `VOCDataset` for the rest.

    `dropped` counts what is left out, by kind of fault (`check.RULES`) and, of training,
    `image without objects`; `noted` counts what is only worth knowing.

    Raises:
        UserError: the first fatal fault, such as an unknown class, and how many there are.
    """

    def __init__(self, drop_unknown: bool = False, also: Sequence[str] = (),
                 **kwargs: Any) -> None:
        self.drop_unknown, self.also = drop_unknown, also
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.truncated: list[str] = []
        self.image_ids: list[str] = []
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        classes = self._metainfo['classes']
        self.cat2label = {name: label for label, name in enumerate(classes)}
        first, faults, rows = Path(self.sub_data_root), [], []
        for home in (first, *(first.parent / name for name in self.also)):
            path = home / Path(self.ann_file).relative_to(first)
            ids, found = check.read_list(path)
            if found and found[0].kind == 'no list':
                raise UserError('the data set is not here: no image list', path, HOW_TO_GET)
            faults += found
            for image_id in ids:
                image = home / self.img_subdir / f'{image_id}.jpg'
                xml = home / self.ann_subdir / f'{image_id}.xml'
                example = voc_xml.read_example(image_id, image, xml, self.cat2label,
                                             self.drop_unknown)
                faults += example.faults
                rows.append(self._row(example, image, xml))
        self.image_ids = [row['img_id'] for row in rows]
        self._count(faults)
        return rows

    def _row(self, example: voc_xml.Example, image: Path, xml: Path) -> dict:
        """As mmdet's `parse_data_info`; boxes are VOC's less 1, as mmdet takes them."""
        least = self.bbox_min_size or 0
        return dict(
            img_path=str(image), img_id=example.image_id, xml_path=str(xml),
            width=example.size[0], height=example.size[1],
            instances=[dict(bbox=[x - 1 for x in item.box], bbox_label=self.cat2label[item.name],
                            ignore_flag=int(item.difficult or _least_side(item.box) < least))
                       for item in example.objects])

    def _count(self, faults: Sequence[Fault]) -> None:
        fatal = [fault for fault in faults if fault.level == FATAL]
        if fatal:
            more = (f' ({len(fatal) - 1} more: refaug-det data check {self.sub_data_root})'
                    if len(fatal) > 1 else '')
            raise UserError(fatal[0].what, fatal[0].where, fatal[0].fix + more)
        self.dropped = Counter(fault.kind for fault in faults if fault.level == DROPPED)
        self.noted = Counter(fault.kind for fault in faults if fault.level == NOTE)
        self.truncated = [Path(f.where).name for f in faults if f.kind == 'breaks off']

    def filter_data(self) -> list[dict]:
        kept = super().filter_data()
        if len(kept) < len(self.data_list):
            self.dropped['image without objects'] = len(self.data_list) - len(kept)
        if not kept:
            raise UserError('no image of the list has an object to train on', self.ann_file,
                            f'refaug-det data check {self.sub_data_root} says why')
        return kept

    def summary(self) -> dict[str, Any]:
        """What this split holds, for the record and the protocol.

        Returns:
            `images`, `objects` (difficult ones included), `sha256` over image
            ids, sizes and boxes, `dropped`, `noted` and `truncated`.
        """
        rows = [[info['img_id'], info['width'], info['height'],
                 [[i['bbox_label'], i['ignore_flag'], *i['bbox']] for i in info['instances']]]
                for info in (self.get_data_info(n) for n in range(len(self)))]
        return dict(images=len(rows), objects=sum(len(row[3]) for row in rows),
                    sha256=files.digest([self._metainfo['classes'], rows]),
                    dropped=dict(self.dropped), noted=dict(self.noted), truncated=self.truncated)


def _least_side(box: Sequence[int]) -> int:
    return min(box[2] - box[0], box[3] - box[1])


@TRANSFORMS.register_module()
class RefAugLoadImage:
    """Loads `img_path` as BGR, uint8 (H, W, 3), through `refaug_det.images.decode`."""

    def __call__(self, results: dict) -> dict:
        image = decode(results['img_path'], 'BGR')
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


def refuse_faults(cfg: Mapping[str, Any]) -> None:
    """Read the splits of a config once, all but the pixels, to refuse them before a run begins.

    Args:
        cfg: a training config; data sets of other types are not judged.

    Raises:
        UserError: a fault that training would stop at.
    """
    for part in ('train_dataloader', 'test_dataloader'):
        settings = dict(cfg[part]['dataset'], pipeline=[], serialize_data=False)
        if settings.pop('type') == RefAugVOCDataset.__name__:
            RefAugVOCDataset(**settings)


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
    names = {name for path in sorted(folders[0].glob('*.xml'))
             for name in voc_xml.class_names(path)}
    if not names:
        raise UserError('no objects in the annotations', folders[0], HOW_TO_GET)
    return sorted(names)
