"""What every detection data set of ours does: refuse what is fatal, count what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from refaug_det.data.sources import DROPPED, FATAL, NOTE, Fault
from refaug_det.errors import UserError
from refaug_det.runs import files


class CountedDataset:
    """The part of a data set that its layout does not change; an mmdet data set comes after it.

    A layout adds `load_data_list`, which sets `image_ids` and calls `_count`, and
    `class_names`, the classes that occur where a data set's settings point.

    Args:
        drop_unknown: leave out objects of classes that are not in
            `metainfo.classes`, and count them; otherwise they are an error.
        As mmdet's data set for the rest.

    `dropped` counts what is left out, by kind of fault (`check.RULES`) and, of training,
    `image without objects` and `small image`; `noted` counts what is only worth knowing.
    `image_ids` are those of all images.

    Raises:
        UserError: the first fatal fault, such as an unknown class, and how many there are.
    """

    def __init__(self, drop_unknown: bool = False, **kwargs: Any) -> None:
        self.drop_unknown = drop_unknown
        self.dropped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.truncated: list[str] = []
        self.image_ids: list[str] = []
        super().__init__(**kwargs)

    @property
    def home(self) -> str:
        """The folder that `refaug-det data check` takes."""
        return self.data_root

    def _count(self, faults: Sequence[Fault]) -> None:
        fatal = [fault for fault in faults if fault.level == FATAL]
        if fatal:
            more = (f' ({len(fatal) - 1} more: refaug-det data check {self.home})'
                    if len(fatal) > 1 else '')
            raise UserError(fatal[0].what, fatal[0].where, fatal[0].fix + more)
        self.dropped = Counter(fault.kind for fault in faults if fault.level == DROPPED)
        self.noted = Counter(fault.kind for fault in faults if fault.level == NOTE)
        self.truncated = [Path(f.where).name for f in faults if f.kind == 'breaks off']

    def filter_data(self) -> list[dict]:
        if self.test_mode or self.filter_cfg is None:
            return self.data_list
        kept, least = [], self.filter_cfg.get('min_size', 0)
        for row in self.data_list:
            if self.filter_cfg.get('filter_empty_gt') and not row['instances']:
                self.dropped['image without objects'] += 1
            elif min(row['width'], row['height']) < least:
                self.dropped['small image'] += 1
            else:
                kept.append(row)
        if not kept:
            raise UserError('no image of the list has an object to train on, of the classes '
                            + ', '.join(self._metainfo['classes'])[:100], self.ann_file,
                            f'mend --classes; refaug-det data check {self.home} shows the data')
        return kept

    def prepare_data(self, idx: int) -> Any:
        """As mmdet's.

        Raises:
            UserError: a transform refuses the image.
        """
        try:
            return super().prepare_data(idx)  # type: ignore[misc]
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError,
                cv2.error) as error:
            info = self.get_data_info(idx)  # type: ignore[attr-defined]
            raise UserError(f'a transform refuses the image ({type(error).__name__}: '
                            f'{str(error)[:200]})', info['img_path'],
                            'mend the pipeline of the config, or the image') from error

    def summary(self) -> dict[str, Any]:
        """What this split holds, for the record and the protocol.

        Returns:
            `images`, `objects` (ignored ones included), `sha256` over image
            ids, sizes and objects, `dropped`, `noted` and `truncated`.
        """
        rows = [[info['img_id'], info['width'], info['height'],
                 [[i['bbox_label'], i['ignore_flag'], *i['bbox'], *i.get('as_filed', ())]
                  for i in info['instances']]]
                for info in (self.get_data_info(n) for n in range(len(self)))]
        return dict(images=len(rows), objects=sum(len(row[3]) for row in rows),
                    sha256=files.digest([self._metainfo['classes'], rows]),
                    dropped=dict(self.dropped), noted=dict(self.noted), truncated=self.truncated)
