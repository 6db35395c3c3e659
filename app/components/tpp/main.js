// The TPP page's live part: one component, so that a move costs one fragment run and redraws only what changed.
// Toggles are kept until the server says they are stored; N and cell follow the latest move.
const PAGES = new WeakMap();
const RESEND = 4000;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".tpp");
  let page = PAGES.get(root);
  if (!page) PAGES.set(root, (page = makePage(root)));
  page.trigger = setTriggerValue;
  receive(page, data);
  clearInterval(page.timer); // this function runs again at every redraw
  page.timer = setInterval(() => {
    if (page.waiting && Date.now() - page.sent > RESEND) send(page);
  }, 1000);
  return () => clearInterval(page.timer);
}

function makePage(root) {
  const page = {
    root,
    client: crypto.randomUUID ? crypto.randomUUID() : String(Math.random()),
    seq: 0,
    pending: [],
    want: {},
    waiting: false,
    sent: 0,
  };
  page.parts = {
    bar: el("div", "bar"),
    cards: el("div", "cards"),
    left: el("section", "panel"),
    right: el("section", "panel detail"),
    flips: el("section", "panel"),
  };
  page.parts.left.setAttribute("aria-label", "Matrix");
  page.parts.right.setAttribute("aria-label", "Behind the cell");
  page.parts.flips.setAttribute("aria-label", "Texts that changed sides");
  buildBar(page);
  root.replaceChildren(
    page.parts.bar,
    page.parts.cards,
    el("div", "two", el("div", "stack", page.parts.left, page.parts.flips), page.parts.right),
  );
  return page;
}

function receive(page, data) {
  page.data = data;
  page.root.dataset.mode = dark(page.root) ? "dark" : "light";
  page.root.classList.toggle("present", data.present);
  const ack = data.ack[page.client] ?? 0;
  page.pending = page.pending.filter((p) => p.seq > ack);
  page.waiting = page.pending.length > 0;
  if ((data.heard[page.client] ?? 0) >= page.seq) {
    page.want = {};
    page.waiting = false;
  }
  drawBar(page);
  drawCards(page);
  drawMatrix(page);
  drawDetail(page);
  page.root.dataset.pending = page.waiting ? 1 : 0;
  page.root.dataset.n = data.n;
  if (page.again) {
    page.again = false;
    send(page);
  }
}

function move(page, wish) {
  Object.assign(page.want, wish);
  page.seq += 1;
  // One request at a time: while one is on its way, only the latest wish is remembered.
  if (page.waiting && Date.now() - page.sent < RESEND) {
    page.again = true;
    return;
  }
  send(page);
}
function toggle(page, latent, decision) {
  const cell = page.data.cell;
  page.seq += 1;
  page.pending.push({ seq: page.seq, row: cell[0], latent, decision });
  page.root.dataset.pending = 1;
  send(page);
}
function send(page) {
  page.waiting = true;
  page.sent = Date.now();
  page.root.dataset.pending = 1;
  page.trigger("did", { client: page.client, seq: page.seq, ...page.want, log: page.pending, at: Date.now() });
}

// Streamlit's own colours decide: the page may be light while the system is dark.
function dark(root) {
  const probe = el("span");
  probe.style.color = "var(--st-background-color)";
  root.append(probe);
  const [r, g, b] = (getComputedStyle(probe).color.match(/\d+/g) || [255, 255, 255]).map(Number);
  probe.remove();
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}

function buildBar(page) {
  const bar = page.parts.bar;
  page.slider = el("input");
  Object.assign(page.slider, { type: "range", min: 0, step: 1, id: "n" });
  page.slider.setAttribute("aria-label", "Latents ablated per class, N");
  page.slider.oninput = () => {
    const n = page.data.ns[Number(page.slider.value)];
    page.shown.textContent = n;
    move(page, { n });
  };
  page.shown = el("output", "n");
  bar.append(el("label", "slide", el("span", "", "N = "), page.shown, page.slider));
  page.scale = button("", "", () => move(page, { scale: page.data.relative ? "" : "relative" }));
  page.ablation = button("", "", () => move(page, { ablation: page.data.ablation === "mean" ? "zero" : "mean" }));
  bar.append(page.scale, page.ablation, (page.note = el("span", "mute small")));
}
function drawBar(page) {
  const d = page.data;
  page.parts.bar.hidden = d.present;
  page.slider.max = d.ns.length - 1;
  if (page.want.n === undefined) {
    page.slider.value = d.ns.indexOf(d.n);
    page.shown.textContent = d.n;
    page.slider.setAttribute("aria-valuetext", `N = ${d.n}`);
  }
  page.scale.textContent = d.relative ? "scale: relative to chance" : "scale: absolute";
  page.scale.setAttribute("aria-pressed", d.relative);
  page.scale.title = "Switch between the loss of balanced accuracy and its share of the probe's accuracy above chance";
  page.ablation.textContent = d.ablation === "mean" ? "ablation: to the mean" : "ablation: to zero (paper)";
  page.ablation.title =
    "What an ablated latent is set to: its mean over the training texts, or 0 as in the paper. " +
    "Zero also moves the probes' thresholds, which a random decoder can do as well.";
  page.note.textContent = d.setNote;
}
function drawCards(page) {
  page.parts.cards.replaceChildren(
    ...page.data.cards.map((c, i) => {
      const card = el(
        "div",
        "fact" + (i ? "" : " first"),
        el("span", "", c.label),
        el("b", i ? "" : "tppscore", c.value),
        el("i", "ci", c.ci),
      );
      card.title = c.how;
      return card;
    }),
  );
}
