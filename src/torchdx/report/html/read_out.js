"use strict";
// Reads a cell of the layers x time picture to who points at it or walks over it; the page is whole without it.
(() => {
  addEventListener("beforeprint", () => document.querySelectorAll(".card details").forEach((part) => (part.open = true)));
  const source = document.getElementById("health-data");
  const picture = document.querySelector("svg[data-chart=health]");
  if (!source || !picture) return;
  const seen = JSON.parse(source.textContent);
  const { left, panel, gap, top, row } = seen.place;
  const figure = picture.closest("figure");
  const output = figure.querySelector(".read-out");
  const cursor = picture.querySelector(".cursor");
  const width = panel / seen.steps.length;
  let at = { row: 0, column: -1, side: 0 };

  const said = (value, share) =>
    value === null ? "not measured" : typeof value === "string" ? value
      : share ? `${+(100 * value).toPrecision(3)}%` : String(+value.toPrecision(3));

  function show(next) {
    at = next;
    output.textContent =
      `${seen.layers[at.row]} at step ${seen.steps[at.column].toLocaleString("en")}: gradient ` +
      `${said(seen.gradient[at.row][at.column])}, flat or dead ${said(seen.idle[at.row][at.column], true)}.`;
    const place = { x: left + at.side * (panel + gap) + at.column * width, y: top + at.row * row, width, height: row - 1 };
    for (const [name, value] of Object.entries(place)) cursor.setAttribute(name, value);
  }

  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const scale = picture.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const side = x > left + panel + gap / 2 ? 1 : 0;
    const column = Math.floor((x - left - side * (panel + gap)) / width);
    const line = Math.floor((y - top) / row);
    if (column >= 0 && column < seen.steps.length && line >= 0 && line < seen.layers.length)
      show({ row: line, column, side });
  });

  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  figure.querySelector(".scroll").addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    show({ ...at, row: within(at.row + (at.column < 0 ? 0 : move[0]), seen.layers.length),
      column: within(at.column + move[1], seen.steps.length) });
  });
})();
