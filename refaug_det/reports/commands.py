"""`refaug-det report`: run directories to one page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from refaug_det import answers


@answers.document
def report(runs: list[Path], /, *, output: Annotated[Path, Parameter(
        name=['--output', '-o'])] = Path('report.html'), baseline: str | None = None,
        metric: str | None = None, data_root: Path | None = None, images: int = 6,
        resamples: int = 1000, title: str | None = None, json: bool = False) -> Any:
    """Write one page on a comparison: summary, tables, figures, examples, how to reproduce it.

    Reads run directories of both stages, and what refaug-det analyze left in them; trains and
    measures nothing. The page needs no other file and no network.

    Example: refaug-det report work_dirs -o report.html

    Args:
        runs: run directories, or folders that hold them. With those of stage 1 that the
            backbones came from, the page has their curves, risks and spectra too.
        output: the file to write.
        baseline: backbone to take differences against (default: as refaug-det compare).
        metric: which metric to compare (default: as refaug-det compare).
        data_root: where the test images lie now (default: where the runs found them).
        images: how many of them to show with detections.
        resamples: of the test images, for the intervals.
        title: of the page.
        json: print what was written and what is missing as JSON; words go to stderr.

    Returns:
        Exit code, 0.
    """
    from refaug_det.errors import UserError
    from refaug_det.reports import page
    from refaug_det.tables import visible

    if images < 0:
        raise UserError(f'--images {images}', 'refaug-det report', 'none (0) or more')
    material = page.gather(runs, baseline, metric, data_root, images, resamples)
    found = page.chapters(material)
    path = page.write(page.render(found, material, title or page.TITLE), output)
    lacking = [one for chapter in found for _, section in chapter.sections
               for one in section.missing if chapter.name == 'missing']
    told = f'; {len(lacking)} missing, the page says what and how to get it' if lacking else ''
    size = path.stat().st_size
    print(f'wrote {visible(str(path))}: {size / 1e6:.1f} MB{told}')
    return dict(file=str(path), bytes=size, missing=[dataclasses.asdict(one) for one in lacking])
