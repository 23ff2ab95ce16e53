"""Names that want to be markup, and judges that tell whether they have become it."""

from __future__ import annotations

import csv
import functools
import io
import random
import re
from html.parser import HTMLParser

FRAGMENTS = {
    'html': ['<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '"><svg onload=a()>',
             "' onmouseover='a()", '</td></tr></table>', '<!-- ', '-->', '<![CDATA[', '<?php ?>',
             '</title><style>*{}', '&lt;b&gt;', '&#60;i&#62;', '&amp', '<a href="javascript:a()">',
             '<b', '</', '{{ 7 * 7 }}', '{% raw %}', '<math><mi//xlink:href="x">', '\x0c<p>'],
    'markdown': ['**bold**', '_it_', '`code`', '[a](http://b.c)', '![i](j.png)', '[x]: http://y',
                 '~~gone~~', '| a | b |', '\\', '\\|', '# head', '- item', '1. one', '> said',
                 '```', '    code', '***', '---', '<http://b.c>', 'http://b.c', 'www.b.c', 'a@b.c',
                 '[^1]', ':smile:', '@someone', '#1', '$x^2$', '==mark==', '- [ ] do', '&copy;',
                 'HTTPS://b.c', '__init__', '\\*', 'a  \nb'],
    'latex': ['\\input{/etc/passwd}', '\\write18{rm}', '\\end{tabular}', '$x$', '$$', '%', '&',
              '\\\\', '\\\\[9cm]', '[9cm]', ']', '*', '#1', '_', '^', '~', '{', '}', '\\', '"',
              '\\def\\a{}', '^^5cinput', '--', '``', "''", '?`', '!`', '\\newline', '\\hline'],
    'terminal': ['\x1b[31mred', '\x1b]0;title\x07', '\x1b[2J', '\x9b31m', '\x08\x08\x08', '\r',
                 '\x00', '\u202egnp', '\u2066', '\u200b', '\ufeff', '\u2028', '\x85',
                 '[red]x[/red]', '[/]', '[link=http://b.c]', '\x1b]8;;http://b.c\x1b\\',
                 '\ud800', '\U000e0041'],
    'formula': ['=1+1', "=cmd|' /C calc'!A0", '+1', '-1', '@SUM(A1)', '\t=1', ' =1', "'=1",
                '\uff1d1', ';=1', ',=1', '"', '"",=1', '\n=1', '=HYPERLINK("http://b.c")'],
    'plain': ['mixup-0.2_r50', 'Größe 猫', ' pad ', 'a', '½ ± 3', '()', 'x' * 40],
}
FORMULA = '=+-@\uff1d\uff0b\uff0d\uff20'


def names(count: int, seed: int = 0) -> list[str]:
    """Names of one to four fragments, every fragment at least once alone."""
    draw = random.Random(seed)
    alone = [one for family in FRAGMENTS.values() for one in family]
    found = dict.fromkeys(alone)
    while len(found) < count:
        parts = draw.choices(alone, k=draw.randint(2, 4))
        found[draw.choice(['', ' ', 'a']).join(parts)] = None
    return [*found]


class Page(HTMLParser):
    """Everything in a page that is not text, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.events: list[tuple] = []
        self.text: list[str] = ['']
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.events.append((tag, *sorted(attrs)))
        self.text.append('')

    def handle_endtag(self, tag):
        self.events.append((f'/{tag}',))

    def handle_data(self, data):
        self.text[-1] += data

    def handle_comment(self, data):
        self.events.append(('comment', data))

    handle_decl = handle_pi = unknown_decl = handle_comment


@functools.lru_cache(4)
def events(page: str) -> list[tuple]:
    return Page(page).events


def html_differs(page: str, plain: str) -> bool:
    """Whether a page has other elements or attributes than that of a plain name."""
    return events(page) != events(plain)


@functools.lru_cache(4)
def tokens(source: str) -> list[tuple]:
    from markdown_it import MarkdownIt

    parser = MarkdownIt('commonmark', {'html': True}).enable(['table', 'strikethrough'])
    return [(token.type, tuple(sorted(token.attrs.items())), tuple(
        child.type for child in token.children or () if not child.type.startswith('text')))
        for token in parser.parse(source)]


def markdown_differs(text: str, plain: str) -> bool:
    """Whether Markdown has other tokens than that of a plain name, or what GitHub links."""
    linked = r'(?i)(https?|ftp|xmpp|mailto):|www\.|\w@\w|(?<!\\)\$\S'
    return tokens(text) != tokens(plain) or bool(re.search(linked, text))


def other_markdown_differs(text: str, plain: str) -> bool:
    """The same by another parser, by the elements that it makes."""
    return html_differs(rendered(text), rendered(plain))


@functools.lru_cache(4)
def rendered(source: str) -> str:
    import markdown

    return markdown.markdown(source, extensions=['tables'])


# what a text may consist of in LaTeX, from the writer's point of view: escapes and harmless letters
_SAFE = re.compile(
    r'\\text(?:backslash|asciitilde|asciicircum|less|greater|bar|quotedbl|asciigrave|quotesingle)'
    r'\{\}|\\[{}&%$#_]|\{[][*-]\}|\$\\(?:pm|times)\$|[^\\{}&%$#_^~\[\]*"`\x00-\x1f]')


def latex_differs(text: str, plain: str, plain_name: str) -> bool:
    """Whether LaTeX has anything but harmless text where that of a plain name has the name."""
    places = [re.escape(part) for part in plain.split(plain_name)]
    found = re.fullmatch('(.*?)'.join(places), text, re.DOTALL)
    return found is None or any(_SAFE.sub('', part) for part in found.groups())


def csv_differs(text: str, names: list[str], visible) -> bool:
    """Whether names open cells or rows of their own, compute something, or are not to be had."""
    rows = list(csv.reader(io.StringIO(text, newline=''), strict=True))
    first = [row[0] for row in rows[1:]]
    back = [cell[1:] if cell.startswith("'") else cell for cell in first]
    return ({len(row) for row in rows} != {len(rows[0])}
            or sorted(back) != sorted(visible(name, keep='\t\r\n') for name in names)
            or any(cell.lstrip()[:1] in FORMULA for cell in first if cell.strip())
            or any(cell[:1] in '\t\r\n' for cell in first if cell))


def terminal_differs(text: str, plain: str) -> bool:
    """Whether a name steers the terminal, or takes another number of lines than a plain one."""
    odd = [c for c in text if not c.isprintable() and c != '\n']
    return bool(odd) or text.count('\n') != plain.count('\n')
