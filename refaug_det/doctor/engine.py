"""Torch, its GPUs, and the JPEG decoder: do they compute?"""

from __future__ import annotations

import io
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from refaug_det.doctor.findings import FAULT, OK, WARNING, Finding, Places, first_line

GB = 10**9
DRIVER = Path('/proc/driver/nvidia/version')


class GPU(NamedTuple):
    """What torch says of a GPU; memory in bytes, and `error` if it computed nothing."""

    name: str
    free: int
    total: int
    bf16: bool
    error: str = ''


def torch_(places: Places) -> Iterator[Finding]:
    """Whether torch and torchvision work together."""
    again = 'pip install --force-reinstall torch torchvision'
    try:
        import torch
        import torchvision
        kept = torchvision.ops.nms(torch.tensor([[0., 0, 4, 4], [0, 0, 4, 5]]),
                                   torch.tensor([1., 0.5]), 0.5)
    except Exception as error:  # missing libraries, or builds of two releases
        yield Finding('torch', FAULT, f'does not work with torchvision: {first_line(error)}', again)
        return
    if kept.tolist() != [0]:
        yield Finding('torch', FAULT, f'non-maximum suppression kept {kept.tolist()}, not [0]',
                      again)
    else:
        yield Finding('torch', OK, f'{torch.__version__} with torchvision '
                      f'{torchvision.__version__}')


def gpu(places: Places) -> Iterator[Finding]:
    """What torch can do with the GPUs of this machine."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # what they say is in the finding
        found = [_gpu(n) for n in range(torch.cuda.device_count())]
        error = ''
        if not found:
            try:
                torch.cuda.init()
            except (RuntimeError, AssertionError) as raised:
                error = first_line(raised)
    yield from gpus(found, driver=DRIVER.exists() or bool(shutil.which('nvidia-smi')),
                    build=torch.version.cuda or torch.version.hip, error=error,
                    visible=os.environ.get('CUDA_VISIBLE_DEVICES'))


def _gpu(number: int) -> GPU:
    import torch

    name = torch.cuda.get_device_name(number)
    try:
        free, total = torch.cuda.mem_get_info(number)
        with torch.cuda.device(number):
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        wrong = float(torch.ones(2, device=f'cuda:{number}').sum()) != 2
        return GPU(name, free, total, bf16, 'it counts 1 + 1 wrong' if wrong else '')
    except RuntimeError as error:
        return GPU(name, 0, 0, False, first_line(error))


def gpus(found: Sequence[GPU], *, driver: bool, build: str | None, error: str = '',
         visible: str | None = None) -> Iterator[Finding]:
    """A finding for each GPU, or why there is none.

    Args:
        found: the GPUs that torch sees.
        driver: whether NVIDIA's driver is on this machine.
        build: CUDA (or ROCm) version that torch was built for; None: for none.
        error: what torch says when it looks for a GPU.
        visible: CUDA_VISIBLE_DEVICES.
    """
    other = ('update the driver, or install a torch for this one: '
             'https://pytorch.org/get-started/locally')
    for number, one in enumerate(found):
        name = f'GPU {number}'
        text = (f'{one.name}, {one.free / GB:.1f} of {one.total / GB:.1f} GB free, '
                f'{"bf16" if one.bf16 else "no bf16: --amp fp16 is for it"}; torch is for {build}')
        if one.error:
            yield Finding(name, FAULT, f'{one.name}: torch cannot compute on it: {one.error}',
                          other)
        elif one.free < one.total / 2:
            yield Finding(name, WARNING, f'{text}; another process has most of its memory',
                          'see nvidia-smi; choose another GPU by CUDA_VISIBLE_DEVICES')
        else:
            yield Finding(name, OK, text)
    if found:
        return
    if not driver:
        yield Finding('GPU', OK, 'none: everything runs on the processor, slowly')
    elif visible is not None and (not visible.strip() or visible.startswith('-')):
        yield Finding('GPU', WARNING, f'hidden by CUDA_VISIBLE_DEVICES={visible!r}',
                      'unset CUDA_VISIBLE_DEVICES')
    elif build is None:
        yield Finding('GPU', FAULT, "NVIDIA's driver is here, but torch is built for no GPU",
                      'pip install --force-reinstall torch torchvision, from PyPI')
    else:
        yield Finding('GPU', FAULT, f"NVIDIA's driver is here, but torch (CUDA {build}) sees no "
                      f'GPU: {error or "it does not say why"}', other)


def jpeg(places: Places) -> Iterator[Finding]:
    """Whether simplejpeg decodes, and as Pillow does."""
    import numpy as np
    import simplejpeg
    from PIL import Image

    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    data = simplejpeg.encode_jpeg(image, quality=95, colorspace='RGB')
    decoded = simplejpeg.decode_jpeg(data, colorspace='RGB')
    by_pillow = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
    if np.array_equal(decoded, by_pillow):
        yield Finding('JPEG', OK, 'simplejpeg decodes as Pillow does, to the bit')
    else:
        yield Finding('JPEG', WARNING, 'simplejpeg and Pillow decode one file differently',
                      'compare numbers of this machine with those of others with care')
