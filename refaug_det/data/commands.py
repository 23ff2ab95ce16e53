"""`refaug-det data ...`: prepare data sets from archives or the network, and check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from refaug_det import answers
from refaug_det.errors import EXIT_OK, EXIT_USER_ERROR

SHOWN = 50  # faults; thousands would bury the summary


def prepare(name: str, /, *, root: Path,
            archives: Annotated[list[Path] | None,
                                Parameter(name='--from', consume_multiple=True)] = None,
            json: bool = False) -> int:
    """Put a data set in place, from local archives or by download.

    Does nothing when it is there. What was cut off is begun or gone on with again.

    Example: refaug-det data prepare cifar10 --root data --from cifar-10-python.tar.gz

    Args:
        name: cifar10, cifar100, tiny-imagenet, imagenet, image-folder; voc2007, voc2012,
            voc0712, voc-folder, coco, coco-folder; or one that an installed package adds.
        root: folder to put it in: the --data-root of training.
        archives: the published archives, where they are not in the folder already.
        json: print what was done as JSON; progress goes to stderr.

    Returns:
        Exit code, 0.
    """
    from refaug_det.data.archives import sweep
    from refaug_det.data.sources import source

    with answers.aside(json):
        sweep(root)
        done = source(name).prepare(root, archives or [])
    if json:
        answers.print_json(dict(data_set=name, root=str(root), done=done))
    else:
        print(done)
    return EXIT_OK


def check(name: str, /, *, root: Path | None = None, quick: bool = False,
          json: bool = False) -> int:
    """Look for all that is wrong with a data set: a line each, then a summary.

    Exit code 2 with any fault; notes are no faults.

    Example: refaug-det data check tiny-imagenet --root data --quick

    and, where the layout tells what it is: refaug-det data check my/voc/folder

    Args:
        name: as in `refaug-det data prepare`; without --root, a folder.
        root: the folder it is in: the --data-root of training.
        quick: look at headers and numbers; do not decode the images.
        json: print JSON instead.

    Returns:
        Exit code, 0 without faults, 2 with any; notes are no faults.
    """
    from refaug_det.data.sources import DROPPED, FATAL, NOTE, recognised, source
    from refaug_det.escapes import visible

    which = recognised(Path(name)) if root is None else source(name)
    with answers.aside(json):
        report = which.check(Path(name) if root is None else root, quick=quick)
    if json:
        answers.print_json(report.to_dict())
    else:
        order = (FATAL, DROPPED, NOTE).index
        for fault in sorted(report.faults, key=lambda fault: order(fault.level))[:SHOWN]:
            print(visible(str(fault)))
        if len(report.faults) > SHOWN:
            print(f'... and {len(report.faults) - SHOWN} more: --json shows all')
        print(visible(report.summary()))
    return EXIT_USER_ERROR if len(report.faults) > report.notes else EXIT_OK
