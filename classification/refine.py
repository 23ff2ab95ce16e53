"""Refinement of a model that is trained already, by this project or by anyone else."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

import classification.batch_norm  # noqa: F401  (registration)
from classification.train import carry_out, leaf_configs, resolve_classes
from refaug_det.backbones import resnets
from refaug_det.backbones.formats import LoadReport, load_whole, read_weights
from refaug_det.errors import UserError
from refaug_det.runs import directory, files, launch
from refaug_det.runs.records import RunRecord

HOOK, EPOCHS = 'RefAugRefinementHook', 20
_WRAPPERS = ('module.', 'model.', 'network.', 'net.')  # prefixes that wrappers put before all keys


def bare(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights without the prefixes that wrappers have put before every key."""
    while prefix := next((p for p in _WRAPPERS if weights and all(
            key.startswith(p) for key in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def load_network(network: nn.Module, weights: dict[str, torch.Tensor],
                 source: object) -> LoadReport:
    """Load a classifier, its last layer included, whole or not at all.

    Args:
        network: of `classification.models`.
        weights: by the key names of torchvision, timm or this project, behind
            any of the usual wrappers' prefixes.
        source: what errors call them.

    Raises:
        UserError: see `refaug_det.backbones.formats.load_whole`.
    """
    return load_whole(getattr(network, 'net', network), bare(weights), source)


def starting_weights(name: str) -> tuple[dict[str, torch.Tensor], str]:
    """The weights that `--checkpoint` names, and their sha256.

    Args:
        name: a file (see `formats.read_weights`), `torchvision://NAME` or
            `timm://NAME`; the last two download.

    Raises:
        UserError: no such weights, unsafe ones, or no network.
    """
    scheme, found, model = name.partition('://')
    if not found:
        return read_weights(name), hashlib.sha256(Path(name).read_bytes()).hexdigest()
    try:
        if scheme == 'torchvision':
            from torchvision.models import get_model
            # the weights that torchvision://NAME means in mmengine too
            weights = get_model(model, weights='IMAGENET1K_V1').state_dict()
        elif scheme == 'timm':
            import timm
            weights = timm.create_model(model, pretrained=True).state_dict()
        else:
            raise ValueError('neither torchvision:// nor timm://')
    except Exception as error:  # of the library, of its hub, of the network
        raise UserError(f'cannot get these weights ({type(error).__name__}: {str(error)[:150]})',
                        name, 'name a file that you have downloaded') from None
    digest = hashlib.sha256()
    for key, value in sorted(weights.items()):
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return weights, digest.hexdigest()


def plan(cfg: Config, epochs: int | None, lr: float | None, schedule: str | None,
         batch_norm_only: bool) -> None:
    """Turn the config of a whole training into one of its refinement alone.

    Args:
        cfg: changed in place. What its own refinement hook says stays, if it
            has one: pipeline, optimiser state, and, unless given, the rate.
        epochs: T2; by default `EPOCHS`.
        lr, schedule: see `RefAugRefinementHook`.
        batch_norm_only: one epoch that re-estimates batch-norm statistics and
            updates no weight.

    Raises:
        UserError: no rate, neither given nor in the config; options of a training
            that does not take place.
    """
    if batch_norm_only and not (epochs is None and lr is None and schedule is None):
        raise UserError('nothing is trained with --batch-norm-only', '--epochs, --lr, --schedule',
                        'leave them out')
    epochs = EPOCHS if epochs is None else epochs
    if epochs < 1:
        raise UserError(f'{epochs} epochs', '--epochs', 'at least 1')
    hooks = cfg.get('custom_hooks') or []
    hook = next((dict(hook) for hook in hooks if hook.get('type') == HOOK), dict(type=HOOK))
    hook.update(epochs=epochs, weaken=0)
    hook.update({key: value for key, value in (('lr', lr), ('schedule', schedule))
                 if value is not None})
    if hook.get('lr') is None and not batch_norm_only:
        raise UserError('no learning rate for the refinement', '--lr', 'pass the last rate of the '
                        'training, such as --lr 0.001')
    others = [hook for hook in hooks if hook.get('type') != HOOK]
    if batch_norm_only:
        hook.update(epochs=1, lr=None, schedule='constant')
        others.append(dict(type='RefAugBatchNormHook'))
        cfg.optim_wrapper = dict(type='RefAugNoUpdate', optimizer=cfg.optim_wrapper.optimizer)
    cfg.custom_hooks = [hook, *others]
    cfg.train_cfg.max_epochs = hook['epochs']
    cfg.param_scheduler = None


def refuse_other_input(cfg: Config, checkpoint: str) -> None:
    """Weights belong to the pixel statistics and the class order they were trained with.

    Args:
        cfg: with settled classes.
        checkpoint: what of these is known of it is compared: of a run directory of ours, of
            timm's and of torchvision's weights.

    Raises:
        UserError: the config has others.
    """
    scheme, found, model = checkpoint.partition('://')
    stored = Path(checkpoint).parent / directory.RESOLVED
    pixels: dict = {}
    if found and scheme == 'timm':
        import timm
        trained = timm.get_pretrained_cfg(model)
        pixels = dict(mean=[255 * x for x in trained.mean], std=[255 * x for x in trained.std])
    elif found:
        pixels = dict(mean=list(resnets.IMAGENET_MEAN), std=list(resnets.IMAGENET_STD))
    elif stored.is_file():
        before = files.read_json(stored, 'the config of these weights', dict)
        pixels = before['model']['data_preprocessor']
        trained = ConfigDict(before['train_dataloader']['dataset'])
        classes = next(leaf_configs(trained)).get('classes')
        here = next(leaf_configs(cfg.train_dataloader.dataset)).get('classes')
        if classes is not None and list(classes) != list(here):
            raise UserError('the weights were trained on other classes, or in another order',
                            stored, f'pass --classes {",".join(classes)[:150]}')
    for name in ('mean', 'std') if pixels else ():
        ours = cfg.model.data_preprocessor[name]
        if any(abs(a - b) > 0.01 for a, b in zip(pixels[name], ours, strict=True)):
            raise UserError(f'the weights were trained with pixel {name} {list(pixels[name])}, the '
                            f'config has {list(ours)}', 'model.data_preprocessor',
                            f'--cfg-options model.data_preprocessor.{name}='
                            f'{",".join(f"{x:g}" for x in pixels[name])}')


def run(args: argparse.Namespace) -> RunRecord:
    """Refine a checkpoint as the command line says, and register its backbone."""
    weights, digest = starting_weights(args.checkpoint)
    cfg = launch.load(args)
    if args.batch_norm_only and args.amp:
        raise UserError('nothing is trained with --batch-norm-only', '--amp', 'leave it out')
    plan(cfg, args.epochs, args.lr, args.schedule, args.batch_norm_only)
    resolve_classes(cfg, args.classes)
    refuse_other_input(cfg, args.checkpoint)
    cfg.refined_from = dict(file=Path(args.checkpoint).name, sha256=digest)
    return carry_out(cfg, args, args.name, lambda network: str(
        load_network(network, weights, args.checkpoint)))
