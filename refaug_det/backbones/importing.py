"""Register weights that were trained elsewhere, or in a run of ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from refaug_det.backbones import key_names, origins, statements, timm_pyramids, zoo
from refaug_det.backbones.formats import Checkpoint, LoadReport, load_whole
from refaug_det.backbones.key_names import KeyNames
from refaug_det.backbones.origins import Origin
from refaug_det.backbones.resnets import reference, spec_of
from refaug_det.backbones.statements import Statement
from refaug_det.backbones.zoo import BackboneCard, BackboneSpec
from refaug_det.errors import UserError

_SHOWN = 12  # modules, in a line


@dataclass(frozen=True)
class Report:
    """What became of every tensor of a source.

    Attributes:
        names: the format.
        prefixes: prefix in the source -> its number of tensors.
        said: who says what the pixels are.
        load: of the backbone's tensors; batch-norm counters are not among them.
        taken: number of the source's tensors that were registered, counters too.
        unused: module -> its number of tensors in the source.
        beside: other entries of the file, not read.
    """

    names: KeyNames
    prefixes: dict[str, int]
    said: str
    load: LoadReport
    taken: int
    unused: dict[str, int]
    beside: tuple[str, ...]

    def lines(self, card: BackboneCard) -> list[str]:
        """For the person who ran the command, a line each."""
        spec = card.spec
        numbers = [' '.join(f'{v:g}' for v in values) for values in (spec.mean, spec.std)]
        renamed = ', renamed' if self.names.renames else ''
        mapping = (f'{prefix}* -> * ({count} tensors{renamed})'
                   for prefix, count in self.prefixes.items())
        unused = [f'{module} ({count})' for module, count in list(self.unused.items())[:_SHOWN]]
        more = len(self.unused) - len(unused)
        return [
            f'format: {self.names.name} ({self.names.used_by})',
            f'architecture: {spec.architecture}, width {spec.width}',
            f'pixels: {spec.channel_order}, mean {numbers[0]}, std {numbers[1]} ({self.said})',
            f'mapping: {"; ".join(mapping)}',
            f'matched: {len(self.load.matched)} tensors, and '
            f'{self.taken - len(self.load.matched)} counters of batch norms',
            f'unused: {", ".join(unused) or "none"}' + (f' and {more} more' if more else ''),
            *([f'not read: {", ".join(self.beside)}'] if self.beside else []),
            f'missing: {", ".join(self.load.initialised) or "none"}'
            + (' (left as initialised)' if self.load.initialised else '')]


def add(name: str, source: Path | str, architecture: str | None = None,
        width: int | None = None, prefix: str | None = None,
        mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
        channel_order: str | None = None, overwrite: bool = False, *,
        format_name: str | None = None, style: str | None = None,
        allow_missing: Sequence[str] = ()) -> tuple[BackboneCard, Report]:
    """Register a source's weights under a name, if they are a whole backbone.

    What is given wins over what the source says; what neither says is an error.

    Args:
        name: its name in the zoo.
        source: see `origins.find`.
        architecture, width: see `BackboneSpec`; by default by the tensors.
        prefix: what the backbone's keys begin with; by default the format's.
        mean, std: of the pixels, in [0, 255].
        channel_order: `RGB` or `BGR`, the order of `mean` and `std` too.
        overwrite: replace other weights of that name.
        format_name: of `key_names.KNOWN`; by default recognised by the keys.
        style: `pytorch` says that the stride of bottleneck blocks is in the 3x3
            convolution, where the source does not.
        allow_missing: keys, or patterns, that stay as initialised if missing.

    Raises:
        UserError: anything but a whole backbone, or too little is known of it.
    """
    zoo.plain_name(name)
    origin = origins.find(str(source))
    where, architecture = origin.where, architecture or origin.architecture
    names = _names(origin, format_name or origin.format, prefix, architecture)
    mapping = names.mapping(origin.checkpoint.tensors, where)
    bare = _bare(origin, names, mapping, prefix)
    found = architecture or key_names.architecture_of(bare, where)
    said = _said(origin, names, found)
    pixels = statements.settle(said, mean, std, channel_order, where)
    if found.startswith(timm_pyramids.PREFIX):
        width = width or 64  # spec_of's own default: timm's networks have theirs
    elif origin.pixels is None:  # else: known
        statements.refuse_caffe(bare, said, style, None not in (mean, std, channel_order), where)
    spec = spec_of(found, width or key_names.width_of(bare), pixels.mean, pixels.std,
                   pixels.channel_order)
    state, load, used = _whole(spec, bare, where, allow_missing)
    given = any(value is not None for value in (mean, std, channel_order))
    report = _report(origin.checkpoint, names, 'as given' if given else said.by, load,
                     {mapping[key] for key in used})
    provenance = dict(origin.provenance, format=names.name,
                      prefix=' '.join(report.prefixes) or None,
                      **(dict(initialised=list(load.initialised)) if load.initialised else {}))
    return zoo.register(name, state, spec, provenance=provenance, metrics=origin.metrics,
                        overwrite=overwrite), report


def _bare(origin: Origin, names: KeyNames, mapping: dict[str, str],
          prefix: str | None) -> dict[str, torch.Tensor]:
    """The tensors under the format's prefix, by torchvision's names."""
    tensors = origin.checkpoint.tensors
    if not mapping:
        start = f'begins with {prefix!r}' if prefix else f'is of the format {names.name}'
        raise UserError(f'no key in the file {start}', origin.where,
                        key_names.advice(list(tensors)))
    return {key: tensors[old] for key, old in mapping.items()}


def _whole(spec: BackboneSpec, bare: dict[str, torch.Tensor], where: str,
           allow_missing: Sequence[str]) -> tuple[dict[str, torch.Tensor], LoadReport, set[str]]:
    """The backbone's tensors, what became of all, and which keys of `bare` were used."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what stays as initialised is the same every time
        model = reference(spec.architecture, spec.width)
    found = bare
    if spec.architecture.startswith(timm_pyramids.PREFIX):
        found = timm_pyramids.of_classifier(spec.architecture, bare, allow_missing)
    load = load_whole(model, found, where, allow_missing)
    state = {key: found.get(key, value) for key, value in model.state_dict().items()
             if key in found or key in load.initialised}
    kept = {id(tensor) for tensor in state.values()}
    return state, load, {key for key, tensor in bare.items() if id(tensor) in kept}


def _names(origin: Origin, format_name: str | None, prefix: str | None,
           architecture: str | None) -> KeyNames:
    if format_name and prefix is not None:
        known = key_names.named(format_name)
        return KeyNames(known.name, re.escape(prefix), known.used_by, known.pixels, known.renames)
    if format_name:
        return key_names.named(format_name)
    if prefix is not None:
        return key_names.with_prefix(prefix)
    anchors: Sequence[str] = key_names.ANCHORS
    if architecture and architecture.startswith(timm_pyramids.PREFIX):
        anchors = list(reference(architecture).state_dict())[:2]
    return key_names.recognise(origin.checkpoint.tensors, origin.where, anchors)


def _said(origin: Origin, names: KeyNames, architecture: str) -> Statement:
    """What is known beside the weights, the nearest source first."""
    if origin.pixels:
        return Statement(origin.pixels, statements.PYTORCH, 'as its origin says')
    if architecture.startswith(timm_pyramids.PREFIX) and names.name == 'torchvision':
        import timm
        told = timm.get_pretrained_cfg(architecture.removeprefix(timm_pyramids.PREFIX))
        if told is not None:
            return Statement(origins.pixels_of(told.to_dict(), scale=255), statements.PYTORCH,
                             'timm\'s configuration')
    return statements.of(names, origin.checkpoint)


def _report(checkpoint: Checkpoint, names: KeyNames, said: str, load: LoadReport,
            used: set[str]) -> Report:
    prefixes: Counter[str] = Counter()
    unused: Counter[str] = Counter()
    for key in checkpoint.tensors:
        found = re.match(names.prefix, key)
        start = found.group() if found else ''
        if key in used:
            prefixes[start] += 1
        else:  # outside the backbone's prefix, the first part alone says little
            unused[start + '.'.join(key[len(start):].split('.')[:1 if found else 2])] += 1
    return Report(names, dict(prefixes), said, load, len(used), dict(unused), checkpoint.beside)
