"""Detection data in VOC layout, read so that nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import VOCDataset
from mmengine.registry import DATASETS, TRANSFORMS

from detection import check, voc_xml
from detection.counted import CountedDataset
from refaug_det.errors import UserError
from refaug_det.images import decode

HOW_TO_GET = ('pass --data-root DIR with DIR/VOC2007/{Annotations,ImageSets,JPEGImages} '
              '(PASCAL VOC 2007: refaug-det data prepare voc2007 --root DIR)')


@DATASETS.register_module()
class RefAugVOCDataset(CountedDataset, VOCDataset):
    """mmdet's VOC dataset, read by the judgement of `refaug-det data check`.

    Args:
        also: folders beside `data_prefix.sub_data_root`, such as VOC2012, whose list of the
            same name is read as well.
        As `CountedDataset` and mmdet's `VOCDataset` for the rest.
    """

    def __init__(self, also: Sequence[str] = (), **kwargs: Any) -> None:
        self.also = also
        super().__init__(**kwargs)

    @property
    def home(self) -> str:
        return self.sub_data_root

    @staticmethod
    def class_names(settings: Mapping[str, Any]) -> list[str]:
        """See `classes_in`; of all folders that a data set of these settings reads."""
        first = settings.get('data_prefix', {}).get('sub_data_root', '')
        beside = Path(first).parent
        return classes_in(settings['data_root'],
                          [first, *(beside / name for name in settings.get('also', ()))])

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
        kind = kind_of(settings)
        if kind is not None:
            settings.pop('type')
            kind(**settings)


def kind_of(settings: Mapping[str, Any]) -> type[CountedDataset] | None:
    """The class of a data set by its settings in a config; None for others than ours."""
    kind = DATASETS.get(settings['type'])
    return kind if isinstance(kind, type) and issubclass(kind, CountedDataset) else None


def classes_in(data_root: str | Path, folders: Sequence[str | Path] = ('VOC2007',)) -> list[str]:
    """Names of the classes that occur in folders in VOC layout, sorted.

    Args:
        data_root: where they lie.
        folders: those with `Annotations`, all of them read.

    Raises:
        UserError: no annotations here, or one is malformed.
    """
    names = set()
    for folder in [Path(data_root) / name / 'Annotations' for name in folders]:
        if not folder.is_dir():
            raise UserError('no annotations here', folder, HOW_TO_GET)
        names |= {name for path in folder.glob('*.xml') for name in voc_xml.class_names(path)}
    if not names:
        raise UserError('no objects in the annotations', folder, HOW_TO_GET)
    return sorted(names)
