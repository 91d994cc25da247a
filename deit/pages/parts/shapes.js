// What every plot is made of: elements, scales, axes, numbers as text, colours.

const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");

// Text is only ever set as text, so that nothing in the data can become markup.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  return filled(made, attributes, children);
}

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  return filled(made, attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function section(title, note, wide, ...children) {
  const made = element("section", wide ? { class: "wide" } : {}, element("h2", {}, title));
  made.append(element("p", { class: "note" }, note), ...children);
  return made;
}

function canvas(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

function number(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(5)));
}

function duration(seconds) {
  const whole = Math.round(seconds), two = (part) => String(part).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

function short(key) { return key.slice(key.lastIndexOf(".") + 1); }

function cut(text, length) { return text.length > length ? `${text.slice(0, length - 1)}…` : text; }

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  if (low > high) return [0, 1];
  if (low === high) return [low - (Math.abs(low) * 0.05 || 1), high + (Math.abs(high) * 0.05 || 1)];
  return [low, high];
}

// A function from values to pixels with `ticks`. A logarithmic one needs positive values.
function scale(low, high, from, to, log = false) {
  const bend = log ? Math.log10 : (value) => value;
  const [a, b] = [bend(low), bend(high)];
  const place = (value) => from + ((bend(value) - a) / (b - a)) * (to - from);
  place.ticks = log ? decades(low, high) : steps(low, high);
  return place;
}

function padded(values, part = 0.05) {
  const [low, high] = extent(values);
  return [low - (high - low) * part, high + (high - low) * part];
}

function steps(low, high, wanted = 5) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function decades(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const factor of high / low > 1e3 ? [1] : [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push(value);
    }
  return found;
}

// Axes of a plot whose inner area is box = {left, right, top, bottom}.
function axes(svg, box, x, y, xLabel, yLabel) {
  for (const value of y.ticks) {
    svg.append(shape("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  for (const value of x.ticks) svg.append(shape("text", { x: x(value), y: box.bottom + 16, "text-anchor": "middle" }, number(value)));
  svg.append(shape("path", { class: "axis", d: `M${box.left},${box.top}V${box.bottom}H${box.right}` }));
  svg.append(shape("text", { x: (box.left + box.right) / 2, y: box.bottom + 32, "text-anchor": "middle" }, xLabel));
  svg.append(shape("text", { x: box.left, y: box.top - 8, class: "ink" }, yLabel));
}

// The eight colours of Okabe and Ito, which stay apart for the colour-blind.
const OKABE_ITO = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#b8a900"];
