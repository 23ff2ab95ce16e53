"""What a run ran on: versions and device, for its record."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ('refaug-det', 'torch', 'torchvision', 'onedl-mmengine', 'mmengine', 'onedl-mmcv',
             'mmcv', 'onedl-mmdetection', 'mmdet', 'numpy', 'pycocotools',
             'timm')


def versions() -> dict[str, str]:
    """Installed versions of what the numbers depend on."""
    found = {'python': platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device(world_size: int = 1) -> dict[str, Any]:
    """Kind of device, how many processes use it, and torch's threads."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    return dict(name=name, machine=platform.machine(), processes=world_size,
                threads=torch.get_num_threads())
