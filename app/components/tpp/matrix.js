// The matrix: a table of buttons. Rows are ablated, columns are the probes; the diagonal is what should be hurt.
// Drawn here because cells are clicked and redrawn at every move; reports and downloads use app/figures/tpp.py.
import { el, est, num } from "../common/dom.js";

// Full colour leaves room for text on it: 4.5:1 on every shade, dark text above STRONG and the page's own below.
const FULL = 75;
const STRONG = 0.7;

export function drawMatrix(page) {
  const d = page.data;
  if (!page.grid || page.grid.names !== JSON.stringify(d.classes)) buildMatrix(page);
  const [si, sj] = d.cell || [-1, -1];
  const full = page.perN ? d.limit : d.fixedLimit;
  page.grid.title.textContent = d.title;
  d.classes.forEach((_, i) => {
    page.grid.counts[i].textContent = d.counts[i];
    page.grid.counts[i].title = d.countHow;
    d.classes.forEach((_, j) => {
      const b = page.grid.cells[i][j],
        e = d.matrix[i][j];
      const share = e.value === null ? 0 : Math.max(-1, Math.min(1, e.value / full));
      b.value.textContent = e.value === null ? "n/a" : cellText(e.value);
      b.range.textContent = e.ci ? `${cellText(e.ci[0])} ${cellText(e.ci[1])}` : "";
      b.node.style.setProperty("--share", `${Math.round(Math.abs(share) * FULL)}%`);
      b.node.className =
        "cell" +
        (share < 0 ? " gain" : "") +
        (Math.abs(share) > STRONG ? " strong" : "") +
        (e.value === null ? " na" : "");
      b.node.setAttribute("aria-pressed", i === si && j === sj);
      b.node.title = b.label + est(e, 3);
      b.node.setAttribute("aria-label", b.label + est(e, 3));
      b.node.tabIndex = (d.cell ? i === si && j === sj : i === 0 && j === 0) ? 0 : -1;
    });
  });
  page.grid.clean.forEach((c, j) => {
    c.textContent = d.clean[j].value === null ? "n/a" : num(d.clean[j].value, 2);
    c.title = `clean balanced accuracy ${est(d.clean[j], 3)}`;
  });
  page.grid.legend.textContent = `${d.unit}; full colour at ${num(full, 2)} or more${page.perN ? " at this N" : ""}; small: 95 % interval over ${d.level}`;
}
const cellText = (v) => {
  const s = Math.abs(v).toFixed(2).replace(/^0/, "");
  return Math.abs(v) < 0.005 ? s : (v < 0 ? "\u2212" : "+") + s;
};

function buildMatrix(page) {
  const d = page.data,
    table = el("table", "grid");
  const grid = {
    names: JSON.stringify(d.classes),
    cells: [],
    counts: [],
    clean: [],
    title: el("h3"),
    legend: el("p", "how"),
  };
  table.setAttribute("aria-label", "TPP matrix: ablated class by probe");
  table.style.setProperty("--k", d.classes.length);
  const head = el("tr", "", el("th", "corner", "ablated \u2193  probe \u2192"));
  d.classes.forEach((name) => {
    const th = el("th", "probe", el("span", "", name));
    th.scope = "col";
    th.title = name;
    head.append(th);
  });
  const clean = el("tr", "clean", el("th", "", "clean accuracy"));
  d.classes.forEach(() => {
    const td = el("td");
    grid.clean.push(td);
    clean.append(td);
  });
  const body = el("tbody");
  d.classes.forEach((name, i) => {
    const count = el("span", "count"),
      th = el("th", "row", el("span", "name", name), count),
      tr = el("tr", "", th);
    th.scope = "row";
    th.title = name;
    grid.counts.push(count);
    grid.cells.push(
      d.classes.map((probe, j) => {
        const value = el("b"),
          range = el("i"),
          node = el("button", "cell", value, range);
        node.type = "button";
        node.dataset.cell = `${i},${j}`;
        node.onclick = () => page.move({ cell: `${i},${j}` });
        node.onkeydown = (e) => arrows(page, e, i, j);
        tr.append(el("td", i === j ? "diagonal" : "", node));
        return { node, value, range, label: `${name} ablated, probe ${probe}: ` };
      }),
    );
    body.append(tr);
  });
  table.append(el("thead", "", head), body, el("tfoot", "", clean));
  page.grid = grid;
  page.parts.left.replaceChildren(
    page.parts.probes,
    grid.title,
    el("div", "scroll", table),
    el("div", "scale", el("span", "", "accuracy gained"), el("div", "ramp"), el("span", "", "accuracy lost")),
    grid.legend,
  );
}
function arrows(page, e, i, j) {
  const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
  if (!by) return;
  e.preventDefault();
  e.stopPropagation();
  const next = page.grid.cells[i + by[0]]?.[j + by[1]];
  if (!next) return;
  page.grid.cells.flat().forEach((c) => (c.node.tabIndex = -1));
  next.node.tabIndex = 0;
  next.node.focus();
}
