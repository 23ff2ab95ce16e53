"""How mmengine reaches the zoo: the `refaug://` scheme, and loading that fails closed.

Importing this registers both. In someone else's config:
`custom_imports = dict(imports=['refaug_det.backbones.loading'])`.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader

from refaug_det.backbones import zoo
from refaug_det.backbones.formats import below, load_whole, read_weights


@CheckpointLoader.register_scheme(prefixes=zoo.SCHEME, force=True)
def load_from_refaug(filename: str, map_location: Any = None) -> dict[str, torch.Tensor]:
    """Weights of a registered backbone, checked against its card."""
    return zoo.weights(filename)


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_file(filename: str, map_location: Any = None) -> dict[str, torch.Tensor]:
    """Weights of a local file. mmengine falls back to full unpickling here; this never does."""
    return read_weights(filename)


@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class RefAugPretrained(PretrainedInit):
    """mmengine's `Pretrained`, except that a module loads whole or not at all.

    mmengine loads what fits and trains the rest from random initialisation.

    Raises:
        UserError: see `refaug_det.backbones.formats.load_whole`.
    """

    def __call__(self, module: torch.nn.Module) -> None:
        state = CheckpointLoader.load_checkpoint(self.checkpoint, map_location='cpu')
        weights = state.get('state_dict', state)
        weights = {key.removeprefix('module.'): value for key, value in weights.items()}
        if self.prefix:
            weights = below(weights, self.prefix.rstrip('.') + '.', module, self.checkpoint)
        report = load_whole(module, weights, self.checkpoint)
        print_log(f'{self.checkpoint}: {report}', logger='current')
        module.__dict__['refaug_load_report'] = str(report)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'loaded from {self.checkpoint}')
