// The page of a training, from top to bottom; drawn again when the theme or the shown weights change.

const percent = (part, digits = 1) => (part === null || part === undefined ? "–" : `${(100 * part).toFixed(digits)} %`);
const inPercent = (number) => (number === null ? "–" : `${number.toFixed(1)} %`);
const NAMED = 40; // classes of a confusion matrix with names; above, the most confused pairs say more
const PAIRS = 15;
let shown = 0; // which evaluation
let order = { column: 5, up: true }; // of the table of classes: the lowest F1 first

function tile(value, what) {
  return element("div", { class: "tile" }, element("b", {}, value), element("span", {}, what));
}

function head() {
  const best = data.best[0], found = data.evaluations[shown];
  const tiles = [
    ...data.best.map((entry) => tile(`${entry.top1.toFixed(2)} %`, `top-1, ${entry.weights} weights, epoch ${entry.epoch}`)),
    ...(best && best.images ? [tile(String(best.images), "validation images")] : []),
    ...(found ? [tile(inPercent(found.macro_f1), "macro F1"), tile(inPercent(found.balanced_accuracy), "balanced accuracy")] : []),
    ...(found && found.reliability && found.reliability.ece !== null ? [tile(inPercent(found.reliability.ece), "calibration error (ECE)")] : []),
    tile(data.took, "from the first to the last step"),
  ];
  return element("section", { class: "wide" },
    element("h1", {}, `Training ${data.name}`),
    element("pre", {}, element("code", {}, data.command)),
    element("p", { class: "soft" }, `Run ${data.id}. This page is of ${data.written}.`),
    element("div", { class: "tiles" }, ...tiles));
}

function curves(title, lines) {
  const names = Object.keys(lines);
  if (!names.length) return null;
  const width = 450, height = 290, box = { left: 58, right: width - 14, top: 28, bottom: 246 };
  const svg = canvas(width, height, `${title} over epochs`), xs = [], ys = [];
  for (const [x, y] of Object.values(lines)) { xs.push(...x); ys.push(...y); }
  const [, last] = extent(xs), [low, high] = padded(ys);
  const x = scale(0, last, box.left, box.right), y = scale(low, high, box.bottom, box.top);
  axes(svg, box, x, y, "epoch", "");
  names.forEach((name, i) => {
    const [epochs, values] = lines[name], colour = OKABE_ITO[i];
    if (epochs.length === 1) svg.append(shape("circle", { cx: x(epochs[0]), cy: y(values[0]), r: 3, fill: colour }));
    svg.append(shape("path", { class: "curve", d: epochs.map((epoch, j) => `${j ? "L" : "M"}${x(epoch).toFixed(1)},${y(values[j]).toFixed(1)}`).join(""), style: `stroke:${colour}` }));
  });
  const legend = names.length < 2 ? [] : names.map((name, i) =>
    element("span", { class: "key" }, element("span", { class: "swatch", style: `background:${OKABE_ITO[i]}` }), name));
  const made = section(title, `${title[0].toUpperCase()}${title.slice(1)} over epochs.`, false, ...legend, svg);
  made.classList.add("third");
  return made;
}

function choice() {
  if (data.evaluations.length < 2) return null;
  const buttons = data.evaluations.map((found, i) => {
    const made = element("button", { type: "button", "aria-pressed": String(i === shown) }, `${found.weights} weights`);
    made.addEventListener("click", () => { shown = i; draw(); });
    return made;
  });
  return element("div", { class: "choice" }, ...buttons);
}

function about(found) {
  return `The best evaluation of the ${found.weights} weights, after step ${found.step}: ${found.images} images${found.share}.`;
}

function matrix(found) {
  const names = found.classes.map(([name]) => name), count = names.length, totals = found.classes.map((row) => row[1]);
  if (count > NAMED) return null;
  const cell = Math.max(12, Math.min(34, 560 / count)), longest = Math.min(22, Math.max(...names.map((name) => name.length)));
  const left = 18 + longest * 6.6, top = 8, side = cell * count, width = left + side + 10, height = top + side + 22 + longest * 6.2;
  const svg = canvas(width, height, "confusion matrix");
  for (let i = 0; i < count; i++)
    for (let j = 0; j < count; j++)
      svg.append(shape("rect", { x: left + j * cell, y: top + i * cell, width: cell - 1, height: cell - 1, fill: "var(--grid)" }));
  for (const [row, column, number] of found.matrix) {
    const part = totals[row] ? number / totals[row] : 0, x = left + column * cell, y = top + row * cell;
    svg.append(shape("rect", { x, y, width: cell - 1, height: cell - 1, fill: row === column ? "var(--accent)" : "var(--bad)", "fill-opacity": (0.15 + 0.85 * part).toFixed(3) },
      shape("title", {}, `${number} of ${totals[row]} images of ${names[row]} predicted as ${names[column]}`)));
    if (cell >= 16) svg.append(shape("text", { x: x + (cell - 1) / 2, y: y + cell / 2 + 4, "text-anchor": "middle", class: "count-in", style: `fill:${part > 0.5 ? "var(--card)" : "var(--ink)"}` }, String(number)));
  }
  names.forEach((name, i) => {
    svg.append(shape("text", { x: left - 6, y: top + i * cell + cell / 2 + 4, "text-anchor": "end" }, cut(name, 22), shape("title", {}, name)));
    const [x, y] = [left + i * cell + cell / 2, top + side + 10];
    svg.append(shape("text", { x, y, "text-anchor": "end", transform: `rotate(-60 ${x} ${y})` }, cut(name, 22), shape("title", {}, name)));
  });
  svg.style.maxWidth = `${width}px`;
  return section("Confusion matrix", `${about(found)} A row is a true class, a column a predicted one; the colour is the share of the row.`, false, svg);
}

function pairs(found) {
  const names = found.classes.map(([name]) => name);
  const wrong = found.matrix.filter(([row, column]) => row !== column).sort((a, b) => b[2] - a[2]);
  if (!wrong.length) return section("Confused classes", `${about(found)} None is classified wrongly.`, false);
  const rows = wrong.slice(0, PAIRS).map(([row, column, number]) => element("tr", {},
    element("td", { class: "text" }, names[row]), element("td", { class: "text" }, names[column]), element("td", {}, String(number))));
  const more = wrong.length > PAIRS ? ` ${wrong.length - PAIRS} more pairs are rarer.` : "";
  return section("Confused classes", `${about(found)} The pairs with the most images.${more}`, false,
    element("div", { class: "scroll" }, grid([["true class", true], ["predicted", true], ["images", false]], rows)));
}

function grid(headings, rows) {
  return element("table", { class: "settings" },
    element("thead", {}, element("tr", {}, ...headings.map(([name, text]) => element("th", { scope: "col", class: text ? "text" : "" }, name)))),
    element("tbody", {}, ...rows));
}

function classes(found) {
  const columns = ["class", "images", "predicted", "precision", "recall", "F1"];
  const value = (row) => row[order.column];
  const compare = (a, b) => (value(a) === null) - (value(b) === null) || (typeof value(a) === "string" ? value(a).localeCompare(value(b)) : value(a) - value(b));
  const sorted = [...found.classes].sort((a, b) => (order.up ? 1 : -1) * compare(a, b));
  const head = columns.map((name, i) => {
    const button = element("button", { type: "button" }, `${name}${order.column === i ? (order.up ? " ▲" : " ▼") : ""}`);
    button.addEventListener("click", () => { order = { column: i, up: order.column === i ? !order.up : i === 0 || i > 2 }; draw(); });
    return element("th", { scope: "col", class: i ? "" : "text" }, button);
  });
  const rows = sorted.map((row) => element("tr", {}, element("td", { class: "text", title: row[0] }, row[0]),
    ...row.slice(1, 3).map((count) => element("td", {}, String(count))), ...row.slice(3).map((part) => element("td", {}, percent(part)))));
  const mean = `Macro F1 ${inPercent(found.macro_f1)}, balanced accuracy ${inPercent(found.balanced_accuracy)}: every class counts the same.`;
  return section("Classes", `Precision: of the images predicted as the class, how many are of it. Recall: of its images, how many are found. ${mean}`, false,
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows))));
}

function reliability(found) {
  if (!found.reliability) return null;
  const [images, right, confidence] = found.reliability.sums, bins = images.length, total = images.reduce((a, b) => a + b, 0);
  const width = 680, box = { left: 50, right: width - 14, top: 20, bottom: 380 }, svg = canvas(width, 420, "reliability diagram");
  const x = scale(0, 1, box.left, box.right), y = scale(0, 1, box.bottom, box.top);
  axes(svg, box, x, y, "confidence: probability of the predicted class", "share of correct images");
  images.forEach((count, i) => {
    if (!count) return;
    const accuracy = right[i] / count, mean = confidence[i] / count, from = x(i / bins) + 1, wide = x(1 / bins) - x(0) - 2;
    svg.append(shape("rect", { x: from, y: y(accuracy), width: wide, height: Math.max(0, y(0) - y(accuracy)), fill: "var(--accent)", "fill-opacity": (0.35 + 0.65 * Math.sqrt(count / total)).toFixed(3) },
      shape("title", {}, `${count} images: mean confidence ${percent(mean)}, ${percent(accuracy)} correct`)));
    svg.append(shape("line", { x1: from, x2: from + wide, y1: y(mean), y2: y(mean), stroke: "#d55e00", "stroke-width": 2 }));
  });
  svg.append(shape("line", { class: "axis", x1: x(0), y1: y(0), x2: x(1), y2: y(1), "stroke-dasharray": "5 4" }));
  const ece = found.reliability.ece === null ? "unknown" : `${found.reliability.ece.toFixed(2)} %`;
  return section("Calibration", `Bars: images by confidence; lines: their mean confidence, which a calibrated model reaches. Expected calibration error (ECE): ${ece} with ${bins} bins.`, false, svg);
}

function mistakes(found) {
  const names = found.classes.map(([name]) => name);
  const cards = found.mistakes.map((one) => element("figure", {},
    element("img", { src: one.picture, alt: one.name, loading: "lazy" }),
    element("figcaption", {}, element("b", {}, `${names[one.predicted]} ${percent(one.confidence, 0)}`), element("br"),
      `is ${names[one.label]} (${percent(one.own, 0)})`, element("br"), element("span", { class: "soft" }, one.name))));
  const note = cards.length ? "The wrong predictions with the highest probability. Some may be labelled wrongly: look at them first." : "No image is classified wrongly.";
  return section("Most confident mistakes", note, true, element("div", { class: "gallery" }, ...cards));
}

function next() {
  return section("What to do next", "In the folder of the project; FOLDER has the images to predict.", false,
    ...data.next.flatMap(([what, command]) => [element("p", {}, what), element("pre", {}, element("code", {}, command))]));
}

function recipe() {
  return section("Recipe", "config.yaml in the run directory has every key.", false,
    grid([["", true], ["", true]], data.recipe.map(([what, value]) => element("tr", {}, element("td", { class: "text soft" }, what), element("td", { class: "text long" }, value)))));
}

function draw() {
  const found = data.evaluations[shown], at = scrollY;
  document.getElementById("page").replaceChildren(
    head(),
    ...Object.entries(data.curves).map(([title, lines]) => curves(title, lines)).filter((made) => made !== null),
    ...(found ? [choice(), matrix(found), classes(found), pairs(found), reliability(found), mistakes(found)].filter((made) => made !== null) : []),
    next(), recipe());
  scrollTo(0, at);
}

draw();
dark.addEventListener("change", draw);
