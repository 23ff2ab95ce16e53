"""`refaug-det backbone ...`: what is in the zoo, and how to add to it."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from cyclopts import App

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
def add(name: str, *, source: Path, architecture: str, width: int = 64, prefix: str = '',
        mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        channel_order: str = 'RGB', overwrite: bool = False) -> int:
    """Register weights from a file. Example: refaug-det backbone add r50 --source r50.pth
    --architecture resnet50

    Parameters
    ----------
    name
        Its name in the zoo.
    source
        A .pth or .safetensors file with torchvision's key names; read without running code.
    architecture
        resnet18, resnet34, resnet50, resnet101 or resnet152.
    width
        Channels of the first stage; 64 in the published ResNets.
    prefix
        What the keys begin with in the file, such as `module.encoder_q.`.
    mean, std
        Of the pixels it was trained on, in 0-255.
    channel_order
        RGB or BGR.
    overwrite
        Replace other weights of this name.
    """
    from refaug_det.backbones import importing

    card, report = importing.add(name, source, architecture, width, prefix, mean, std,
                                 channel_order, overwrite)
    print(f'registered {card.name}: {report}')
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
