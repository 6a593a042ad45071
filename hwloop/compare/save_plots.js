
"use strict";
// saves a plot of this page as SVG or PNG, from what the page holds; and opens what is folded before it is printed
const SCALE = 2;
const hand = (href, name) => {
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
};
const save = (button) => {
  const svg = button.closest("figure").querySelector("svg");
  const { width, height } = svg.viewBox.baseVal;
  const copy = svg.cloneNode(true);
  copy.setAttribute("width", width * SCALE);
  copy.setAttribute("height", height * SCALE);
  const text = new XMLSerializer().serializeToString(button.value === "png" ? copy : svg);
  const href = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  if (button.value === "svg") return hand(href, button.name + ".svg");
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = width * SCALE;
    canvas.height = height * SCALE;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    hand(canvas.toDataURL("image/png"), button.name + ".png");
  };
  image.src = href;
};
for (const button of document.querySelectorAll(".save button")) {
  button.hidden = false;
  button.addEventListener("click", () => save(button));
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
