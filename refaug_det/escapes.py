"""Text that others wrote, made harmless for where it is shown: it appears, and does nothing."""

from __future__ import annotations

import re
import unicodedata

FORMULA = tuple('=+-@\uff1d\uff0b\uff0d\uff20')
_LATEX = {'\\': r'\textbackslash{}', '{': r'\{', '}': r'\}', '~': r'\textasciitilde{}',
          '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}',
          '|': r'\textbar{}', '"': r'\textquotedbl{}', '`': r'\textasciigrave{}',
          "'": r'\textquotesingle{}', '[': '{[}', ']': '{]}', '*': '{*}', '±': r'$\pm$', '—': '---',
          '×': r'$\times$', **{character: f'\\{character}' for character in '&%$#_'}}


def visible(text: str, keep: str = '') -> str:
    """Text with control, direction and undefined characters spelled out, as in `\\x1b`."""
    return ''.join(
        character if character in keep or unicodedata.category(character) not in (
            'Cc', 'Cf', 'Cs', 'Cn', 'Zl', 'Zp') else
        character.encode('unicode_escape').decode('ascii') for character in text)


def guard_formula(text: str) -> str:
    """An apostrophe before what a spreadsheet would compute; taking one off undoes it.

    Source: OWASP, CSV Injection (= + - @, tab, CR, LF and their full-width forms).
    """
    risky = text.startswith(("'", '\t', '\r', '\n')) or text.lstrip().startswith(FORMULA)
    return f"'{text}" if risky else text


def markdown(text: str) -> str:
    """Text that renders as itself: no markup, HTML, link or table cell starts in it."""
    text = visible(text).replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    text = re.sub(r'([\\`*_\[\]|~$@]|:(?=\S))', r'\\\1', text)
    return re.sub(r'(?i)(www)\.', r'\1\\.', text)


def markdown_line(text: str) -> str:
    """As `markdown`, at the beginning of a line: no heading, list, rule or code starts there."""
    escaped = re.sub(r'^([#+-])', r'\\\1', markdown(visible(text).strip()))
    return re.sub(r'^(\d+)([.)])', r'\1\\\2', escaped)


def latex(text: str) -> str:
    """Text that LaTeX typesets as itself; brackets and stars in braces, so that none is an option.
    """
    escaped = ''.join(_LATEX.get(character, character) for character in visible(text))
    return re.sub('-(?=-)', '{-}', escaped)  # two hyphens are no dash
