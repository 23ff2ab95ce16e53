"""Is what is installed what the metadata ask for, and does each module have one owner?"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata

from refaug_det.doctor.findings import FAULT, OK, WARNING, Finding, Places, first_line

PACKAGE = 'refaug-det'
# module -> distributions that bring it; the first is the one that we ask for. One overwrites
# the files of another, and takes them along when it is uninstalled.
OWNERS = {'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
          'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-full', 'mmcv-lite'),
          'mmdet': ('onedl-mmdetection', 'mmdet'),
          'cv2': ('opencv-python-headless', 'opencv-python', 'opencv-contrib-python',
                  'opencv-contrib-python-headless')}
HEADLESS = ('pip uninstall -y opencv-python opencv-python-headless && '
            'pip install --no-deps opencv-python-headless')


def version_of(name: str) -> str | None:
    """Installed version of a distribution; None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def python(places: Places) -> Iterator[Finding]:
    """Python's version against the bounds of the installed metadata."""
    from packaging.specifiers import SpecifierSet

    wanted = metadata.metadata(PACKAGE)['Requires-Python'] or ''
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        yield Finding('Python', OK, f'{found} ({platform.machine()} {platform.system()})')
    else:
        yield Finding('Python', FAULT, f'{found}; it takes {wanted}',
                      'make a virtual environment with such a Python, and install there')


def packages(places: Places) -> Iterator[Finding]:
    """Every package that we, and torchvision of torch, ask for, against its bounds."""
    try:
        wanted = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        yield Finding('packages', FAULT, f'{PACKAGE} is not installed, only its files are here',
                      'pip install -e . in the clone of the repository')
        return
    theirs = metadata.requires('torchvision') if version_of('torchvision') else None
    paired = [text for text in theirs or [] if re.match(r'torch\b', text)]
    wrong = list(unmet([*wanted, *paired], version_of))
    yield from wrong or [Finding('packages', OK, f'{PACKAGE} {version_of(PACKAGE)}; '
                                 f'{len(wanted)} requirements are met or not asked for')]


def unmet(requirements: Iterable[str],
          installed: Callable[[str], str | None]) -> Iterator[Finding]:
    """A finding for each requirement (PEP 508) that is not met.

    Args:
        requirements: those of extras count where the package is installed.
        installed: name -> version, or None.
    """
    from packaging.requirements import Requirement
    from packaging.version import InvalidVersion, Version

    for text in requirements:
        wanted = Requirement(text)
        found, bounds = installed(wanted.name), str(wanted.specifier) or 'any version'
        extra = wanted.marker is not None and 'extra' in str(wanted.marker)
        asked = not wanted.marker or extra or wanted.marker.evaluate({'extra': ''})
        if not asked or (extra and found is None):
            continue
        try:
            if found is not None and wanted.specifier.contains(Version(found), prereleases=True):
                continue
        except InvalidVersion:
            bounds += '; this is no version'
        yield Finding(f'package {wanted.name}', WARNING if extra else FAULT,
                      f'{found or "not installed"}; it takes {bounds}',
                      f"pip install '{wanted.name}{wanted.specifier}'")


def owners(places: Places) -> Iterator[Finding]:
    """Whether two distributions were installed over one another."""
    everything = {name: version_of(name) for names in OWNERS.values() for name in names}
    shared = list(shared_modules({name: v for name, v in everything.items() if v}))
    yield from shared or [Finding('forks', OK, ', '.join(
        f'{name} {everything[name]}' for name, *_ in OWNERS.values() if everything[name]))]


def shared_modules(installed: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each module that several of the installed distributions bring.

    Args:
        installed: distribution -> version.
    """
    for module, names in OWNERS.items():
        there = [name for name in names if name in installed]
        if len(there) < 2:
            continue
        told = ' and '.join(f'{name} {installed[name]}' for name in there)
        yield Finding(
            f'module {module}', WARNING if module == 'cv2' else FAULT,
            f'{told} are installed over one another',
            HEADLESS if module == 'cv2' else
            f'pip uninstall -y {" ".join(there)} && pip install {names[0]}')


def opencv(places: Places) -> Iterator[Finding]:
    """Whether OpenCV can be imported: the usual build needs libraries of a desktop."""
    try:
        import cv2
        version = cv2.__version__
    except Exception as error:  # whatever a half-installed package raises
        yield no_opencv(first_line(error))
    else:
        yield Finding('OpenCV', OK, f'{version} imports')


def no_opencv(said: str) -> Finding:
    """Why OpenCV does not import, and what to do.

    Args:
        said: by the import.
    """
    desktop = 'libGL' in said or 'libgthread' in said or '.so' in said
    return Finding('OpenCV', FAULT, f'cannot be imported: {said}' + (
        '; a library of a desktop is missing, which the headless build does without'
        if desktop else ''), HEADLESS)
