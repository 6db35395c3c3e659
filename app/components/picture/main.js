// A figure becomes a PNG of twice its size here, with the reader's own fonts, and is downloaded; nothing leaves the machine.
const SCALE = 2;
const done = new Set();

export default function ({ data }) {
  if (done.has(data.token)) return; // a redraw of the page is not another press
  done.add(data.token);
  const image = new Image();
  image.onload = () => save(image, data.name);
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(data.svg)}`;
}

function save(image, name) {
  const canvas = document.createElement("canvas");
  canvas.width = SCALE * image.naturalWidth;
  canvas.height = SCALE * image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}
