// Streamlit's own colours decide: the page may be light while the system is dark.
const KNOWN = new Map();

// Whether the page around a component is dark; the component's data-mode says so to its style sheet.
export function isDark(root) {
  const colour = getComputedStyle(root).getPropertyValue("--st-background-color").trim() || "white";
  if (!KNOWN.has(colour)) KNOWN.set(colour, luminance(colour) < 128);
  return KNOWN.get(colour);
}

// 0 to 255, of any colour that CSS can write.
function luminance(colour) {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  return 0.299 * r + 0.587 * g + 0.114 * b;
}
