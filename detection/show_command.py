"""`refaug-det show`: ground truth and detections on images, largest disagreements first."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from refaug_det import answers

if TYPE_CHECKING:
    from detection.show import Look

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Detections: {{ looks | map(attribute='name') | join(', ') }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem;
  color: #222; background: #fff }
img { max-width: 100%; height: auto }
table { border-collapse: collapse } th, td { padding: .15rem 1rem .15rem 0; text-align: left }
td.number, th.number { text-align: right }
svg { vertical-align: middle; margin-right: .4rem; background: #b5b5b5 }
li { list-style: none; display: inline-block; margin-right: 1.5rem } ul { padding: 0 }
figure { margin: 2rem 0 } figcaption { margin-bottom: .3rem }
</style>
<h1>Detections with a score of {{ score }} or more</h1>
<table>
<tr><th>run</th><th>folder</th><th class="number">objects found</th>
<th class="number">false detections</th></tr>
{%- for look in looks %}
<tr><td>{{ look.name }}</td><td>{{ folders[loop.index0] }}</td>
<td class="number">{{ look.found.sum() }} of {{ objects }}</td>
<td class="number">{{ look.false.sum() }}</td></tr>
{%- endfor %}
</table>
<p>{{ pictures | length }} of {{ total }} images, those first {{ rule }} A detection finds an
object as the metric has it, at an IoU of {{ iou }} or more; a false one names its type of error.
A difficult object, or a crowd, and a detection of one count neither way.</p>
<ul>
{%- for name, style in styles.items() %}
<li><svg width="44" height="14"><rect x="2" y="2" width="40" height="10" fill="none"
stroke="{{ style.color }}" stroke-width="2"{% if style.linestyle != '-' %}
stroke-dasharray="{{ style.linestyle[1] | join(' ') }}"{% endif %}/></svg>{{ name }}</li>
{%- endfor %}
</ul>
{%- for picture in pictures %}
<figure>
<figcaption><strong>{{ picture.id }}</strong>: {{ picture.words }}</figcaption>
<img src="{{ picture.file }}" alt="{{ picture.id }}: {{ picture.words }}" loading="lazy">
</figure>
{%- endfor %}
</html>
"""


@answers.document
def show(runs: list[Path], /, *, data_root: Path, images: int = 20, score: float = 0.3,
         iou: float = 0.5,
         output: Annotated[Path, Parameter(name=['--output', '-o'])] = Path('show'),
         json: bool = False) -> Any:
    """Draw ground truth and detections of runs side by side, as pictures and a page.

    The images on which the first two runs disagree most come first; of one run, those with most
    errors. Reads detections.npz files and the images. Writes index.html and NNN.jpg.

    Example: refaug-det show work_dirs/standard work_dirs/mixup --data-root data/VOC -o show

    Args:
        runs: run directories of stage 2.
        data_root: that of the runs, in VOC's or in COCO's layout.
        images: at most so many pictures.
        score: detections below it are left out.
        iou: at which a detection finds an object, above 0.1.
        output: folder to write to.
        json: print what was written as JSON; words and progress go to stderr.

    Returns:
        Exit code, 0.
    """
    import numpy as np

    from detection import detections
    from detection import show as pictures
    from detection.error_types import BACKGROUND
    from refaug_det.errors import UserError
    from refaug_det.escapes import visible
    from refaug_det.runs import files
    from refaug_det.runs.jobs import told

    if images < 1 or not 0 <= score <= 1 or not BACKGROUND < iou <= 1:
        raise UserError(f'--images {images} --score {score} --iou {iou}', 'refaug-det show',
                        f'one image or more, a score in [0, 1], an IoU in ({BACKGROUND}, 1]')
    looks = [pictures.look(name, detections.load(run), score, iou)
             for name, run in zip(_names(runs), runs, strict=True)]
    pictures.same_images(looks)
    differ = pictures.disagreement(looks)
    order = np.argsort(-differ, kind='stable')[:images]
    shown = []
    for number, index in enumerate(told(order.tolist(), 'show'), start=1):
        image = pictures.load_image(data_root, looks[0].detections, index)
        file, data = f'{number:03d}.jpg', io.BytesIO()
        pictures.draw(image, looks, index).savefig(
            data, format='jpg', dpi=130, bbox_inches='tight', pad_inches=0.05,
            pil_kwargs=dict(quality=90, subsampling=0))
        _write(files.write_bytes, output / file, data.getvalue())
        shown.append(dict(file=file, id=visible(str(looks[0].detections.image_ids[index])),
                          words=_words(looks, differ, index)))
    _write(files.write_text, output / 'index.html', _page(looks, runs, shown, score, iou))
    print(f'wrote {len(shown)} of {len(differ)} images to {visible(str(output))}; '
          f'open {visible(str(output / "index.html"))}')
    return dict(output=str(output), images=len(differ), pictures=shown)


def _names(runs: list[Path]) -> list[str]:
    """Backbone and seed where a record says so; distinct."""
    from refaug_det.comparison import trials
    from refaug_det.escapes import visible
    from refaug_det.runs import records

    names = []
    for run in runs:
        folder = run if run.is_dir() else run.parent
        name = folder.resolve().name
        if (folder / records.FILE_NAME).is_file():
            record = records.read(folder)
            name = trials.name_of(record) + (
                '' if record.seed is None else f', seed {record.seed}')
        names.append(visible(name))
    return [name if names.count(name) == 1 else f'{name} ({visible(str(run))})'
            for name, run in zip(names, runs, strict=True)]


def _words(looks: list[Look], differ: Any, index: int) -> str:
    """Such as `disagreement 3; not found 1 and 2, false 0 and 2`."""
    lost, false = (' and '.join(str(getattr(look, part)[index]) for look in looks)
                   for part in ('lost', 'false'))
    total = 'errors' if len(looks) == 1 else 'disagreement'
    return f'{total} {differ[index]}; not found {lost}, false {false}'


def _page(looks: list[Look], runs: list[Path], shown: list[dict[str, str]], score: float,
          iou: float) -> str:
    """The page; whatever is in a name is shown as text."""
    from jinja2 import Environment, StrictUndefined

    from detection.show import STYLES
    from refaug_det.escapes import visible

    rule = ('with the most errors: objects not found, and false detections.' if len(looks) == 1
            else 'on which the first two runs disagree most: objects that one of them finds and '
            'the other does not, and the difference of their numbers of false detections.')
    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    return page.render(
        looks=looks, folders=[visible(str(run)) for run in runs], score=score, iou=iou,
        objects=int((~looks[0].detections.gt_difficult).sum()), pictures=shown,
        total=len(looks[0].detections.image_ids), styles=STYLES, rule=rule)


def _write(write: Any, path: Path, content: Any) -> None:
    from refaug_det.errors import UserError

    try:
        write(path, content)
    except OSError as error:
        raise UserError(f'cannot write the pictures ({error.strerror or error})', path,
                        'name a folder that can be written to') from None
