"""`refaug-det analyze probe`: what frozen backbones know of where objects are, and how large."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from refaug_det import answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
_PARTS = (('position', 'position of the box, partial $R^2$'),
          ('size', 'size of the box, partial $R^2$'))


@answers.document
def probe(backbones: list[str], /, *, data_root: Path, side: int = 320, most: int = 200,
          images: int | None = None,
          output: Annotated[Path, Parameter(name=['--output', '-o'])] = Path('probe'),
          json: bool = False) -> Any:
    """Linear probe of box position and size, and feature spectra, stage by stage.

    No detector is trained: a ridge regression reads the boxes off frozen features of trainval,
    and is scored on test by what it adds to knowing the place in the image. Writes
    probe.json, probe.svg and probe.png.

    Example: refaug-det analyze probe standard mixup-augmented mixup-refined --data-root data/VOC

    Args:
        backbones: names from the zoo, torchvision://resnet50, or random:NAME.
        data_root: folder in VOC layout, with VOC2007 in it.
        side: images are resized to this longer side, in pixels.
        most: places of an image that count at most, a stage.
        images: at most so many of each split (default: all).
        output: folder to write to.
        json: print probe.json; words and progress go to stderr.

    Returns:
        Exit code, 0.
    """
    from detection import mmcv_operators
    mmcv_operators.import_mmdet()
    import refaug_det.backbones.loading  # noqa: F401  (registration)
    from detection import stage_features
    from detection.datasets import RefAugVOCDataset, classes_in
    from detection.plug import find
    from refaug_det import figures
    from refaug_det.errors import UserError
    from refaug_det.runs import files
    from refaug_det.runs.jobs import told

    if side < 32 or most < 1 or (images is not None and images < 1):
        raise UserError(f'--side {side}, --most {most}, --images {images}', 'analyze probe',
                        'a side of 32 pixels or more, and counts above 0')
    sources = [find(name) for name in backbones]
    names = classes_in(data_root)
    splits = {}
    for split in ('trainval', 'test'):
        dataset = RefAugVOCDataset(
            data_root=str(data_root), ann_file=f'VOC2007/ImageSets/Main/{split}.txt',
            data_prefix=dict(sub_data_root='VOC2007/'), metainfo=dict(classes=names), pipeline=[])
        dataset.full_init()
        splits[split] = [dataset.get_data_info(n) for n in range(len(dataset))][:images]
    found = {source.name: stage_features.examine(
        source, splits['trainval'], splits['test'], side=side, most=most,
        told=lambda part, name=source.name: told(part, name)) for source in sources}
    numbers = dict(schema=SCHEMA, side=side, most=most, backbones=found,
                   sha256={source.name: source.sha256 for source in sources},
                   images={split: len(infos) for split, infos in splits.items()})
    files.write_json(output / 'probe.json', numbers)
    figures.save(draw(found), output / 'probe')
    for name, stages in found.items():
        print(f'{name}: ' + '; '.join(_words(stage, result) for stage, result in stages.items()))
    print(f'wrote {output / "probe"}.{{json,svg,png}}')
    return numbers


def _words(stage: str, result: dict[str, Any]) -> str:
    position, size = result['position'], result['size']
    return (f'{stage} position R2 {position["value"]:.3f} [{position["low"]:.3f}, '
            f'{position["high"]:.3f}], size {size["value"]:.3f} [{size["low"]:.3f}, '
            f'{size["high"]:.3f}], effective rank {result["spectrum"]["effective_rank"]:.1f}')


def draw(found: dict[str, dict[str, Any]]) -> Figure:
    """R^2 of position and of size, and the effective rank, by stage; a line a backbone."""
    from refaug_det.figures import STYLES, panels

    with panels(3, (3.4, 3.2)) as (figure, axes):
        for number, (name, stages) in enumerate(found.items()):
            style = dict(STYLES[number % len(STYLES)])
            x = [n + 0.06 * (number - (len(found) - 1) / 2) for n in range(len(stages))]
            for ax, (part, _) in zip(axes, _PARTS, strict=False):
                values = [stages[stage][part] for stage in stages]
                low = [v['value'] - v['low'] for v in values]
                high = [v['high'] - v['value'] for v in values]
                ax.errorbar(x, [v['value'] for v in values], yerr=[low, high], label=name,
                            capsize=2, elinewidth=0.8, **style)
            axes[2].plot(x, [stages[stage]['spectrum']['effective_rank'] for stage in stages],
                         label=name, **style)
        for ax, label in zip(axes, [*(label for _, label in _PARTS), 'effective rank of features'],
                             strict=True):
            ax.set_xticks(range(len(next(iter(found.values())))), list(next(iter(found.values()))))
            ax.set_xlabel('stage of the frozen backbone')
            ax.set_ylabel(label)
        figure.legend(*axes[2].get_legend_handles_labels(), loc='outside lower center',
                      ncols=min(len(found), 4))
    return figure
