// Tables sort by the buttons that this puts into their headers; without it they are plain tables.
(() => {
  const words = new Intl.Collator('en', {numeric: true});
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    if (column === 0) return text;
    const found = text.replace('\u2212', '-').match(/^[[>]?\s*([+-]?\d+(?:\.\d+)?)/);
    return found ? Number(found[1]) : text === 'baseline' ? 0 : text || null;
  };
  const kind = (one) => typeof one === 'number' ? 0 : one === null || one === '\u2014' ? 2 : 1;
  const compare = (a, b, sign) => kind(a) - kind(b) || (kind(a) === 2 ? 0
    : sign * (kind(a) === 0 ? a - b : words.compare(a, b)));
  for (const table of document.querySelectorAll('table.sortable')) {
    const body = table.tBodies[0];
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      if (header.classList.contains('plot')) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener('click', () => {
        const rows = [...body.rows];
        const numeric = rows.some((row) => typeof value(row, column) === 'number');
        const before = header.getAttribute('aria-sort');
        const order = before === 'descending' ? 'ascending'
          : before === 'ascending' || numeric ? 'descending' : 'ascending';
        const sign = order === 'ascending' ? 1 : -1;
        rows.sort((a, b) => compare(value(a, column), value(b, column), sign));
        headers.forEach((other) => other.removeAttribute('aria-sort'));
        header.setAttribute('aria-sort', order);
        body.append(...rows);
        document.getElementById('status').textContent =
          'Sorted by ' + button.textContent + ', ' + order;
      });
    });
  }
})();
