// One trial is highlighted everywhere at once: what shows trial N carries data-trial=N.

const byNumber = new Map(data.trials.map((trial) => [trial.number, trial]));
const tip = element("div", { id: "tip", hidden: "" });
let shown = new Map(); // number -> its elements
let pinned = null;
const listeners = []; // called with the pinned trial or null

function collect() {
  shown = new Map(data.trials.map((trial) => [trial.number, []]));
  for (const made of document.querySelectorAll("[data-trial]")) shown.get(Number(made.dataset.trial)).push(made);
}

function light(number) {
  const lit = number ?? pinned;
  for (const made of document.querySelectorAll(".lit")) made.classList.remove("lit");
  for (const svg of document.querySelectorAll("svg.some-lit")) svg.classList.remove("some-lit");
  if (lit === null) return;
  for (const made of shown.get(lit) ?? []) {
    made.classList.add("lit");
    if (!made.classList.contains("hit") && made.ownerSVGElement) made.ownerSVGElement.classList.add("some-lit");
  }
}

function pin(number) {
  pinned = pinned === number ? null : number;
  for (const made of document.querySelectorAll("tr.pinned")) made.classList.remove("pinned");
  if (pinned !== null) for (const made of shown.get(pinned)) if (made.tagName === "TR") made.classList.add("pinned");
  light(null);
  for (const listener of listeners) listener(pinned === null ? null : byNumber.get(pinned));
}

function told(trial) {
  const values = data.objectives.map((objective, i) => `${objective.name}: ${number(trial.objectives[i]) || "–"}`);
  const lines = [`trial ${trial.number}${trial.rank ? `, rank ${trial.rank}` : ""}, ${trial.state}`];
  for (const parameter of data.parameters) {
    const value = parameter.values[data.trials.indexOf(trial)];
    if (value !== null) lines.push(`${short(parameter.name)} = ${parameter.numeric ? number(value) : cut(value, 60)}`);
  }
  return [...lines, ...values].join("\n");
}

function watch() {
  const numberOf = (event) => {
    const made = event.target.closest?.("[data-trial]");
    return made ? Number(made.dataset.trial) : null;
  };
  let last = null;
  document.addEventListener("pointermove", (event) => {
    const found = numberOf(event);
    if (found !== last) light((last = found));
    tip.hidden = found === null || event.target.closest("tr") !== null;
    if (tip.hidden) return;
    tip.textContent = event.target.dataset.note ?? told(byNumber.get(found));
    const [x, y] = [event.clientX + 14, event.clientY + 14];
    tip.style.left = `${Math.min(x, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : y}px`;
  });
  document.addEventListener("click", (event) => {
    const found = numberOf(event);
    if (found !== null && !event.target.closest("a")) pin(found);
  });
  document.addEventListener("focusin", (event) => light(numberOf(event)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && pinned !== null) pin(pinned);
    if (event.key === "Enter" && event.target.tagName === "TR") pin(numberOf(event));
  });
}
