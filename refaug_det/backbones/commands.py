"""`refaug-det backbone ...`: what is in the zoo, and how to add to it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from cyclopts import App, Parameter

from refaug_det import answers

_Triple = tuple[float, float, float] | None

app = App(name='backbone', help='List, show, add and verify registered backbones.')


@app.command(name='list')
def list_(*, json: bool = False) -> int:
    """List the backbones in the zoo.

    Example: refaug-det backbone list

    Args:
        json: print the cards as JSON instead of a table.

    Returns:
        Exit code, 0.
    """
    from refaug_det.backbones import zoo

    cards = [zoo.card(name) for name in zoo.names()]
    if json:
        answers.print_json([dataclasses.asdict(card) for card in cards])
        return 0
    if not cards:
        print(f'no backbones yet in {zoo.zoo_dir()}; tools/train_cls.py registers them')
        return 0
    from refaug_det.tables import MISSING, Table, say

    def text(value: object) -> str:
        return MISSING if value is None else f'{value:.2f}' if isinstance(value, float) else (
            str(value))

    say(Table(f'zoo: {zoo.zoo_dir()}', ('name', 'architecture', 'seed', 'phase', 'top-1 %',
                                        'sha256'), tuple(
        (card.name, f'{card.spec.architecture} w{card.spec.width}',
         text(card.provenance.get('seed')), text(card.provenance.get('phase')),
         text(card.metrics.get('top-1')), card.sha256[:12]) for card in cards)).show)
    return 0


@app.command
def show(name: str, *, json: bool = False) -> int:
    """Show the card of a backbone: what a detector must know of it, and where it comes from.

    Example: refaug-det backbone show toy_standard

    Args:
        name: NAME or refaug://NAME.
        json: print the card as JSON.

    Returns:
        Exit code, 0.
    """
    from refaug_det.backbones import zoo
    from refaug_det.escapes import visible

    card = dataclasses.asdict(zoo.card(name))
    if json:
        answers.print_json(card)
        return 0
    for key, value in card.items():
        for part, each in value.items() if isinstance(value, dict) else [('', value)]:
            text = ' '.join(map(str, each)) if isinstance(each, (tuple, list)) else str(each)
            print(visible(f'{key}{"." * bool(part)}{part}: {text}'))
    return 0


@app.command
def add(name: str, *, source: Annotated[str, Parameter(name=('--from', '--source'))],
        format: str | None = None, architecture: str | None = None, width: int | None = None,
        prefix: str | None = None, mean: _Triple = None, std: _Triple = None,
        channel_order: str | None = None, style: str | None = None,
        allow_missing: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
        overwrite: bool = False, json: bool = False) -> int:
    """Register weights that were trained elsewhere, or in a run.

    What became of each tensor is said. What is given wins over what the source says. Nothing in a
    file is executed.

    Example: refaug-det backbone add moco --from moco_v2_800ep_pretrain.pth.tar

    Args:
        name: its name in the zoo.
        source: a file (.pth, .safetensors, detectron2's .pkl), a run directory,
            torchvision://resnet50, torchvision://resnet50.IMAGENET1K_V2 or timm://NAME; the
            last three download.
        format: whose key names they are, where the keys do not say: torchvision (timm, VICReg
            ...), data-parallel (CutMix-PyTorch ...), moco, moco-v3, simsiam, barlow-twins, dino,
            openmmlab, detectron2 or refaug-det.
        architecture: resnet18, 34, 50, 101 or 152, or timm/NAME; by default a ResNet, by its
            tensors.
        width: channels of a ResNet's first stage; by default by its tensors.
        prefix: what the backbone's keys begin with in the file, dot and all.
        mean: of the pixels it was trained on, in 0-255, in the channel order.
        std: of the same pixels.
        channel_order: RGB or BGR.
        style: pytorch, if a bottleneck network of an unknown trainer has its stride in the 3x3.
        allow_missing: tensors that stay as initialised if they are missing: names or patterns.
        overwrite: replace other weights of this name.
        json: print the card and what became of the tensors as JSON.

    Returns:
        Exit code, 0.
    """
    from refaug_det.backbones import importing
    from refaug_det.escapes import visible

    with answers.aside(json):
        card, report = importing.add(
            name, source, architecture, width, prefix, mean, std, channel_order, overwrite,
            format_name=format, style=style, allow_missing=allow_missing)
    if json:
        answers.print_json(dict(
            card=dataclasses.asdict(card), format=report.names.name, pixels_said_by=report.said,
            matched=len(report.load.matched), initialised=list(report.load.initialised),
            unused=report.unused, not_read=list(report.beside)))
        return 0
    for line in report.lines(card):
        print(visible(line))  # the names are those of the file
    print(f'registered {card.name}, sha256 {card.sha256[:12]}')
    return 0


@app.command
def verify(*names: str, json: bool = False) -> int:
    """Check weights against their cards, of all backbones or those named.

    Example: refaug-det backbone verify

    Args:
        names: backbones; by default all.
        json: print names and digests as JSON.

    Returns:
        Exit code, 0; 2 at the first that is not whole.
    """
    from refaug_det.backbones import zoo

    whole = []
    for name in names or zoo.names():
        whole.append(zoo.verify(name))
        if not json:
            print(f'{whole[-1].name}: whole')
    if json:
        answers.print_json([dict(name=card.name, sha256=card.sha256) for card in whole])
    return 0
