// Every visible text of the page whose contrast with what is behind it is below `least`: [{text, ratio, colours, where}].
// Icons, what is disabled, and labels of a heatmap, whose cells are a picture, are left out.
(least) => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  // [red, green, blue, opacity] of any colour that CSS can write.
  const rgba = (colour) => {
    if (!known.has(colour)) {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, below) => below.map((v, k) => top[3] * top[k] + (1 - top[3]) * v);
  const channel = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const above = (node) => node.parentElement ?? node.getRootNode().host ?? null;
  const path = (node) => {
    const all = [];
    for (let at = node; at; at = above(at)) all.push(at);
    return all;
  };
  const skipped = (element, styles) =>
    element.closest("[disabled], [aria-disabled=true], [data-testid=stIconMaterial], [aria-hidden=true], .heatmap-label, script, style") ||
    styles.some((s) => s.display === "none" || s.visibility === "hidden" || Number(s.opacity) === 0) ||
    styles.some((s) => s.backgroundImage !== "none");
  const check = (element, text) => {
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || box.right < 0) return;
    const chain = path(element);
    const styles = chain.map((e) => getComputedStyle(e));
    if (skipped(element, styles)) return;
    // The number of a slider's thumb stands above the thumb, whose child it is: only what is around the slider counts.
    const around = Math.max(0, chain.indexOf(element.closest("[data-testid=stSlider]")));
    let behind = [255, 255, 255];
    for (let k = chain.length - 1; k >= around; k--) behind = over(rgba(styles[k].backgroundColor), behind);
    const faded = styles.reduce((share, s) => share * Number(s.opacity), 1);
    const [r, g, b, a] = rgba(element instanceof SVGElement ? styles[0].fill : styles[0].color);
    if (a === 0) return; // the name of a figure that is a button, for those who cannot see it
    const ink = over([r, g, b, a * faded], behind);
    const [bright, dim] = [light(ink), light(behind)].sort((x, y) => y - x);
    const ratio = (bright + 0.05) / (dim + 0.05);
    if (ratio < least)
      found.push({
        text: text.trim().slice(0, 60),
        ratio: Number(ratio.toFixed(2)),
        colours: `${ink.map(Math.round)} on ${behind.map(Math.round)}`,
        where: chain
          .slice(0, 4)
          .map((e) => e.dataset?.testid || e.getAttribute("class") || e.tagName)
          .join(" < "),
      });
  };
  const TYPED = "textarea, input:not([type=range], [type=checkbox], [type=radio], [type=file])";
  const found = [];
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) walk(element.shadowRoot);
      if (element.matches(TYPED) && element.value) check(element, element.value);
      for (const node of element.childNodes)
        if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) check(element, node.textContent);
    }
  };
  walk(document);
  return found;
}
