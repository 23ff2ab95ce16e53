"""`refaug-det backbone ...`: what is in the zoo, and how to add to it."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated

from cyclopts import App, Parameter

_Triple = Annotated[tuple[float, float, float] | None, Parameter(negative='')]

app = App(name='backbone', help='List, show, add and verify registered backbones.')


@app.command(name='list')
def list_(*, as_json: bool = False) -> int:
    """List the backbones in the zoo. Example: refaug-det backbone list

    Parameters
    ----------
    as_json
        Print the cards as JSON.
    """
    from refaug_det.backbones import zoo

    cards = [zoo.card(name) for name in zoo.names()]
    if as_json:
        print(json.dumps([dataclasses.asdict(card) for card in cards], indent=2))
        return 0
    if not cards:
        print(f'no backbones yet in {zoo.zoo_dir()}; tools/train_cls.py registers them')
        return 0
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from refaug_det.comparison.tables import visible

    def text(value: object) -> str:  # cards may come from others
        return '—' if value is None else escape(visible(str(value)))

    table = Table(box=box.SIMPLE, title=f'zoo: {text(zoo.zoo_dir())}')
    for column in ('name', 'architecture', 'seed', 'phase', 'top-1 %', 'sha256'):
        table.add_column(column)
    for card in cards:
        top1 = card.metrics.get('top-1')
        table.add_row(text(card.name), text(f'{card.spec.architecture} w{card.spec.width}'),
                      text(card.provenance.get('seed')), text(card.provenance.get('phase')),
                      f'{top1:.2f}' if isinstance(top1, float) else text(top1),
                      text(card.sha256[:12]))
    (Console() if sys.stdout.isatty() else Console(width=500)).print(table)  # a pipe has no width
    return 0


@app.command
def show(name: str) -> int:
    """Print the card of a backbone as JSON. Example: refaug-det backbone show toy_standard

    Parameters
    ----------
    name
        NAME or refaug://NAME.
    """
    from refaug_det.backbones import zoo

    print(json.dumps(dataclasses.asdict(zoo.card(name)), indent=2))
    return 0


@app.command
def add(name: str, *, source: Annotated[str, Parameter(name=('--from', '--source'))],
        format: str | None = None, architecture: str | None = None, width: int | None = None,
        prefix: str | None = None, mean: _Triple = None, std: _Triple = None,
        channel_order: str | None = None, style: str | None = None,
        allow_missing: Annotated[
            tuple[str, ...], Parameter(consume_multiple=True, negative='')] = (),
        overwrite: bool = False) -> int:
    """Register weights that were trained elsewhere, or in a run, and say what became of each
    tensor. Example: refaug-det backbone add moco --from moco_v2_800ep_pretrain.pth.tar

    What is given wins over what the source says. Nothing in a file is executed.

    Parameters
    ----------
    name
        Its name in the zoo.
    source
        A file (.pth, .safetensors, detectron2's .pkl), a run directory, torchvision://resnet50,
        torchvision://resnet50.IMAGENET1K_V2 or timm://NAME; the last three download.
    format
        Whose key names they are, where the keys do not say: torchvision (timm, VICReg ...),
        data-parallel (CutMix-PyTorch ...), moco, moco-v3, simsiam, barlow-twins, dino,
        openmmlab, detectron2 or refaug-det.
    architecture
        resnet18, 34, 50, 101 or 152, or timm/NAME; by default a ResNet, by its tensors.
    width
        Channels of a ResNet's first stage; by default by its tensors.
    prefix
        What the backbone's keys begin with in the file, dot and all.
    mean, std
        Of the pixels it was trained on, in 0-255, in the channel order.
    channel_order
        RGB or BGR.
    style
        pytorch, if a bottleneck network of an unknown trainer has its stride in the 3x3.
    allow_missing
        Tensors that stay as initialised if they are missing: names or patterns.
    overwrite
        Replace other weights of this name.
    """
    from refaug_det.backbones import importing
    from refaug_det.comparison.tables import visible

    card, report = importing.add(
        name, source, architecture, width, prefix, mean, std, channel_order, overwrite,
        format_name=format, style=style, allow_missing=allow_missing)
    for line in report.lines(card):
        print(visible(line))  # the names are those of the file
    print(f'registered {card.name}, sha256 {card.sha256[:12]}')
    return 0


@app.command
def verify(*names: str) -> int:
    """Check weights against their cards, of all backbones or those named.
    Example: refaug-det backbone verify

    Parameters
    ----------
    names
        Backbones; by default all.
    """
    from refaug_det.backbones import zoo

    for name in names or zoo.names():
        print(f'{zoo.verify(name).name}: whole')
    return 0
