// Curves, parallel coordinates, importance, means over seeds and folds, Pareto front.

const many = data.trials.length > 40 ? " many" : "";
// The best are drawn last, on top of the others.
const drawn = [...data.trials].sort((a, b) => (b.rank ?? Infinity) - (a.rank ?? Infinity) || b.number - a.number);

function curvePlot(name, lines, width) {
  const height = 290, box = { left: 50, right: width - 14, top: 10, bottom: 246 };
  const svg = canvas(width, height, `${name} over epochs`), xs = [], ys = [];
  for (const [x, y] of Object.values(lines)) { xs.push(...x); ys.push(...y); }
  const [, last] = extent(xs), [low, high] = padded(robust(ys));
  const x = scale(0, last, box.left, box.right), y = scale(low, high, box.bottom, box.top);
  axes(svg, box, x, y, "epoch", "");
  const clip = `clip-${name.replace(/\W/g, "-")}`;
  svg.append(shape("clipPath", { id: clip }, shape("rect", { x: box.left, y: box.top - 2, width: box.right - box.left + 4, height: box.bottom - box.top + 4 })));
  const area = shape("g", { "clip-path": `url(#${clip})` }), hits = shape("g", { "clip-path": `url(#${clip})` });
  for (const trial of drawn) {
    const line = lines[trial.number];
    if (!line) continue;
    const d = line[0].map((epoch, i) => `${i ? "L" : "M"}${x(epoch).toFixed(1)},${y(line[1][i]).toFixed(1)}`).join("");
    if (line[0].length === 1) area.append(shape("circle", { class: "dot", "data-trial": trial.number, cx: x(line[0][0]), cy: y(line[1][0]), r: 3, fill: colour(trial) }));
    area.append(shape("path", { class: `curve${many}`, "data-trial": trial.number, d, style: `stroke:${colour(trial)}` }));
    hits.append(shape("path", { class: "hit", "data-trial": trial.number, d }));
  }
  svg.append(area, hits);
  return section(name, { "train/loss": "Mean training loss of each window, over epochs.", "val/loss": "Validation loss over epochs." }[name]
    ?? `${name.startsWith("val_ema") ? "Accuracy of the moving average" : "Accuracy"} on the validation images in %, over epochs.`, false, svg);
}

// Without what would squash the rest: a loss that has run away is cut off at the edge.
function robust(values) {
  const sorted = [...values].sort((a, b) => a - b), at = (part) => sorted[Math.round(part * (sorted.length - 1))];
  const reach = 4 * (at(0.9) - at(0.1)) || Infinity;
  return sorted.filter((value) => value >= at(0.1) - reach && value <= at(0.9) + reach);
}

function parallelAxes(box) {
  const swept = data.parameters.map((parameter) => {
    const made = { name: parameter.name, values: parameter.values };
    const missing = parameter.values.includes(null);
    if (parameter.numeric) {
      const [low, high] = parameter.log ? [parameter.levels[0], parameter.levels.at(-1)] : extent(parameter.levels);
      made.place = scale(low, high, box.bottom - (missing ? 24 : 0), box.top, parameter.log);
      made.ticks = parameter.levels.length <= 8 ? parameter.levels : made.place.ticks;
      made.note = parameter.log ? "log" : "";
    } else {
      const levels = [...parameter.levels].sort(compare);
      const at = (i) => (levels.length < 2 ? (box.top + box.bottom) / 2 : box.bottom - (missing ? 24 : 0) - (i / (levels.length - 1)) * (box.bottom - box.top - (missing ? 24 : 0)));
      const places = new Map(levels.map((level, i) => [level, at(i)]));
      made.place = (value) => places.get(value);
      made.ticks = levels.length <= 20 ? levels : levels.filter((_, i) => i % Math.ceil(levels.length / 20) === 0);
      made.note = "";
    }
    made.missing = missing ? box.bottom : null;
    return made;
  });
  return [...swept, ...data.objectives.map(({ name, direction }, i) => {
    const values = data.trials.map((trial) => trial.objectives[i]);
    const known = values.filter((value) => value !== null), [low, high] = extent(known);
    const up = direction === "maximize", place = scale(low, high, up ? box.bottom - 24 : box.top, up ? box.top : box.bottom - 24);
    return { name, values, place, ticks: known.length ? place.ticks : [], note: `${up ? "high" : "low"} is better`, missing: values.includes(null) ? box.bottom : null };
  })];
}

function parallelPlot() {
  const [width, height] = [1400, 400], box = { left: 130, right: 1330, top: 44, bottom: 376 };
  const svg = canvas(width, height, "Parallel coordinates of swept values and objectives"), found = parallelAxes(box);
  const x = (i) => box.left + (found.length < 2 ? 0 : (i / (found.length - 1)) * (box.right - box.left));
  const lines = shape("g"), hits = shape("g"), spread = found.map((axis) => apart(axis));
  for (const trial of drawn) {
    const d = found.map((axis, i) => `${i ? "L" : "M"}${x(i).toFixed(1)},${(spread[i].get(trial)).toFixed(1)}`).join("");
    const dash = trial.rank ? null : "5 4";
    lines.append(shape("path", { class: `curve${many}`, "data-trial": trial.number, d, style: `stroke:${colour(trial)}`, "stroke-dasharray": dash }));
    hits.append(shape("path", { class: "hit", "data-trial": trial.number, d }));
  }
  svg.append(lines, hits);
  found.forEach((axis, i) => {
    svg.append(shape("line", { class: "axis", x1: x(i), x2: x(i), y1: box.top, y2: box.bottom }));
    svg.append(shape("text", { x: x(i), y: 16, "text-anchor": "middle", class: "ink" }, cut(short(axis.name), 24), shape("title", {}, axis.name)));
    svg.append(shape("text", { x: x(i), y: 31, "text-anchor": "middle" }, axis.note));
    for (const value of axis.ticks) label(svg, x(i), axis.place(value), typeof value === "number" ? number(value) : cut(value, 22), i === 0);
    if (axis.missing !== null) label(svg, x(i), axis.missing, "none", i === 0);
  });
  return section("Swept values and objectives", `A line is a trial; dashed ones have no rank, as they have not finished.${legend()}`, true, svg);
}

// Where each trial meets an axis. Those with the same value lie side by side, the better the higher, if there is room.
function apart(axis) {
  const places = new Map(), together = new Map();
  for (const trial of [...drawn].reverse()) {
    const value = axis.values[data.trials.indexOf(trial)], at = value === null ? axis.missing : axis.place(value);
    together.set(at, [...(together.get(at) ?? []), trial]);
  }
  const levels = [...together.keys()].sort((a, b) => a - b);
  const nearest = levels.slice(1).reduce((least, at, i) => Math.min(least, at - levels[i]), 60);
  for (const [at, trials] of together)
    trials.forEach((trial, i) => places.set(trial, trials.length < 2 ? at : at + (i / (trials.length - 1) - 0.5) * Math.min(0.5 * nearest, 3 * trials.length)));
  return places;
}

function legend() {
  return data.trials.length > FEW ? ` Colours follow ${data.objectives[0].name} in every plot: the best stand out most from the background; grey has no value.` : "";
}

// The labels of the first axis stand to its left, where no line crosses them.
function label(svg, x, y, text, left) {
  svg.append(shape("line", { class: "axis", x1: x - 3, x2: x + 3, y1: y, y2: y }));
  svg.append(shape("text", { x: left ? x - 7 : x + 7, y: y + 4, "text-anchor": left ? "end" : "start", style: "paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round" }, text));
}

function importancePlot() {
  const { shares, reason, r2, trials } = data.importance, title = `What ${data.objectives[0].name} depends on`;
  if (reason) return section(title, `No shares are given: ${reason}.`, false);
  const [width, line] = [680, 26], svg = canvas(width, shares.length * line + 8, title), most = shares[0][1] || 1;
  shares.forEach(([name, share], i) => {
    const y = 4 + i * line;
    svg.append(shape("text", { x: 168, y: y + 15, "text-anchor": "end", class: "ink" }, cut(name, 26), shape("title", {}, name)));
    svg.append(shape("rect", { x: 176, y: y + 3, width: Math.max(1, (share / most) * 420), height: line - 9, rx: 2, fill: "var(--accent)" }));
    svg.append(shape("text", { x: 182 + Math.max(1, (share / most) * 420), y: y + 15, class: "ink" }, `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`));
  });
  return section(title, `Permutation importance in a random forest over ${trials} finished trials; R² out of bag ${r2.toFixed(2)} (1: it predicts unseen trials exactly, 0: no better than their mean).`, false, svg);
}

const MOST_SETTINGS = 20;

function seedPlot() {
  const settings = data.settings.filter((setting) => setting.mean[0] !== null).slice(0, MOST_SETTINGS);
  const [width, line] = [680, 26], height = settings.length * line + 44, box = { left: 230, right: 560, top: 4, bottom: height - 36 };
  const svg = canvas(width, height, `Mean over ${data.repeats}`);
  const value = (n) => byNumber.get(n).objectives[0];
  const all = settings.flatMap((setting) => [...setting.trials.map(value), setting.mean[0] - (setting.deviation[0] ?? 0), setting.mean[0] + (setting.deviation[0] ?? 0)]);
  const x = scale(...padded(all.filter((one) => one !== null)), box.left, box.right);
  for (const tick of x.ticks) {
    svg.append(shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom }));
    svg.append(shape("text", { x: x(tick), y: box.bottom + 15, "text-anchor": "middle" }, number(tick)));
  }
  svg.append(shape("text", { x: (box.left + box.right) / 2, y: box.bottom + 31, "text-anchor": "middle" }, data.objectives[0].name));
  settings.forEach((setting, i) => {
    const y = box.top + (i + 0.5) * line, mean = setting.mean[0], off = setting.deviation[0];
    svg.append(shape("text", { x: box.left - 10, y: y + 4, "text-anchor": "end", class: "ink" }, cut(setting.label, 36), shape("title", {}, setting.label)));
    if (off !== null) svg.append(shape("path", { d: `M${x(mean - off)},${y}H${x(mean + off)}M${x(mean - off)},${y - 5}v10M${x(mean + off)},${y - 5}v10`, style: "stroke:var(--ink);stroke-width:1.5;fill:none" }));
    for (const n of setting.trials) if (value(n) !== null) svg.append(shape("circle", { class: "dot", "data-trial": n, cx: x(value(n)), cy: y, r: 3.5, fill: colour(byNumber.get(n)), "fill-opacity": 0.8 }));
    svg.append(shape("path", { d: `M${x(mean)},${y - 6}l6,6l-6,6l-6,-6z`, style: "fill:var(--card);stroke:var(--ink);stroke-width:1.5", "pointer-events": "none" }));
    svg.append(shape("text", { x: box.right + 12, y: y + 4, class: "ink" }, `${number(Number(mean.toPrecision(4)))}${off === null ? "" : ` ± ${number(Number(off.toPrecision(2)))}`} (${setting.trials.length})`));
  });
  const left = data.settings.length - settings.length;
  return section(`Mean over ${data.repeats}`, `Diamond: mean; whiskers: ± sample standard deviation; dots: the ${data.repeats}; in brackets how many.${left > 0 ? ` ${left} more in summary.md.` : ""}`, false, svg);
}

function paretoPlot(width) {
  const [first, second] = data.objectives, height = 340, box = { left: 60, right: width - 30, top: 24, bottom: 292 };
  const svg = canvas(width, height, "Pareto front"), placed = drawn.filter((trial) => !trial.objectives.slice(0, 2).includes(null));
  const x = scale(...padded(placed.map((trial) => trial.objectives[0])), box.left, box.right);
  const y = scale(...padded(placed.map((trial) => trial.objectives[1])), box.bottom, box.top);
  axes(svg, box, x, y, `${first.name} (${first.direction})`, `${second.name} (${second.direction})`);
  const front = placed.filter((trial) => trial.front).sort((a, b) => a.objectives[0] - b.objectives[0]);
  // Between two of the front nothing better than the worse of both in each objective is known.
  const up = first.direction === "maximize";
  const d = front.map((trial, i) => (i ? (up ? `V${y(trial.objectives[1])}H${x(trial.objectives[0])}` : `H${x(trial.objectives[0])}V${y(trial.objectives[1])}`) : `M${x(trial.objectives[0])},${y(trial.objectives[1])}`)).join("");
  if (data.objectives.length === 2) svg.append(shape("path", { d, style: "fill:none;stroke:var(--accent);stroke-width:1.5", "stroke-dasharray": "2 3" }));
  for (const trial of placed) {
    const [px, py] = [x(trial.objectives[0]), y(trial.objectives[1])];
    svg.append(shape("circle", { class: "dot", "data-trial": trial.number, cx: px, cy: py, r: trial.front ? 6 : 4, fill: trial.rank ? colour(trial) : "none", stroke: trial.front ? "var(--ink)" : colour(trial), "stroke-width": 1.5 }));
    if (trial.front) svg.append(shape("text", { x: px + 9, y: py + 4, class: "ink" }, String(trial.number)));
  }
  return section("Objectives against each other", "Large dots with their number: the Pareto front, which no finished trial beats in one objective without losing in another.", false, svg);
}
