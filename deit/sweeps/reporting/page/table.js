// The head of the page, the table of trials, and what is known of one trial.

function head() {
  const seconds = data.trials.reduce((sum, trial) => sum + trial.card_hours, 0) * 3600;
  const best = data.verdict ? data.settings[0] : null;
  const tiles = [
    [data.states.split(": ")[1] ?? "none", data.states.split(":")[0]],
    ...(best ? data.objectives.map((objective, i) => [number(best.mean[i]), `${objective.name}, ${best.trials.length > 1 ? `mean of ${best.trials.length} ${data.repeats}` : `one ${data.repeats.slice(0, -1)}`}, of the best setting`]) : []),
    [duration(seconds), `of ${data.card}s in all`],
    ...(use.busy === null ? [] : [[`${Math.round(100 * use.busy)} %`, `use of ${use.lanes.length} ${data.card}${use.lanes.length > 1 ? "s" : ""}`]]),
  ];
  return element(
    "section", { class: "wide" },
    element("h1", {}, `Sweep ${data.id}`),
    element("pre", {}, element("code", {}, data.command)),
    element("p", { class: "soft" }, `Started ${data.created}. ${data.code} This page is of ${data.written}.`.replace("  ", " ")),
    data.search ? element("p", { class: "soft" }, `Search: ${typeof data.search === "string" ? data.search : Object.entries(data.search).map(([key, value]) => `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ")}`) : null,
    element("div", { class: "tiles" }, ...tiles.map(([value, what]) => element("div", { class: "tile" }, element("b", {}, value), element("span", {}, what)))),
  );
}

const MOST_ROWS = 50; // of the settings

function settingsTable() {
  const headings = ["", "setting", data.repeats, ...data.objectives.map(({ name }) => name), "against the best"];
  const rows = data.settings.slice(0, MOST_ROWS).map((setting, i) => element("tr", {},
    element("td", {}, String(i + 1)), element("td", { class: "text" }, setting.label), element("td", {}, String(setting.trials.length)),
    ...setting.texts.map((text) => element("td", {}, text)), element("td", { class: "text" }, setting.against_best)));
  const text = (name, i) => (i === 1 || i === headings.length - 1 ? "text" : "");
  const more = data.settings.length - rows.length;
  return section("Settings", `${data.verdict[0].toUpperCase()}${data.verdict.slice(1)}. ${data.intervals}${more > 0 ? ` ${more} more in summary.md.` : ""}`, true,
    element("div", { class: "scroll" }, element("table", { class: "settings" },
      element("thead", {}, element("tr", {}, ...headings.map((name, i) => element("th", { scope: "col", class: text(name, i) }, name)))),
      element("tbody", {}, ...rows))));
}

function columns() {
  const objective = new Set(data.objectives.map(({ name }) => name));
  const extra = ["last/val_top1", "last/val_loss", "last/val_epoch"].filter((name) => !objective.has(name) && data.trials.some((trial) => name in trial.results));
  return [
    { name: "rank", value: (trial) => trial.rank },
    { name: "trial", value: (trial) => trial.number, swatch: true },
    { name: "state", value: (trial) => trial.state, text: true },
    ...data.parameters.map((parameter) => ({
      name: short(parameter.name), title: parameter.name, text: !parameter.numeric, value: (trial) => parameter.values[data.trials.indexOf(trial)],
    })),
    ...data.objectives.map(({ name, direction }, i) => aligned({ name, title: `${name}, ${direction}`, value: (trial) => trial.objectives[i] })),
    ...extra.map((name) => (name.endsWith("epoch") ? (column) => column : aligned)({ name, value: (trial) => trial.results[name] ?? null })),
    { name: "time", value: (trial) => (trial.attempts.length ? trial.seconds : null), show: duration },
    { name: "cards", value: (trial) => trial.cards },
    { name: "card hours", value: (trial) => (trial.attempts.length ? trial.card_hours : null), show: (value) => number(Number(value.toPrecision(3))) },
    { name: "attempts", value: (trial) => trial.attempts.length || null },
  ];
}

// A column of numbers with equal decimals: five digits for the largest.
function aligned(column) {
  const sizes = data.trials.map(column.value).filter((value) => value !== null).map(Math.abs), most = Math.max(0, ...sizes);
  if (most >= 1e5 || sizes.some((size) => size !== 0 && size < 1e-3)) return column;
  const decimals = Math.max(0, 5 - String(Math.floor(most)).length);
  return { ...column, show: (value) => value.toFixed(decimals) };
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
}

function table() {
  const all = columns(), body = element("tbody"), headings = element("tr");
  const rows = new Map(data.trials.map((trial) => [trial, rowOf(trial, all)]));
  let by = all[0], down = false;
  const sort = () => {
    const nothing = (trial) => by.value(trial) === null || by.value(trial) === undefined;
    const order = [...data.trials].sort((a, b) => {
      if (nothing(a) || nothing(b)) return nothing(a) - nothing(b) || a.number - b.number; // always at the end
      return (down ? -1 : 1) * compare(by.value(a), by.value(b)) || a.number - b.number;
    });
    body.append(...order.map((trial) => rows.get(trial)));
    all.forEach((column, i) => {
      const cell = headings.children[i];
      cell.setAttribute("aria-sort", column === by ? (down ? "descending" : "ascending") : "none");
      cell.firstChild.textContent = column.name + (column === by ? (down ? " ▾" : " ▴") : "");
    });
  };
  for (const column of all) {
    const button = element("button", { type: "button", title: column.title ?? column.name }, column.name);
    button.addEventListener("click", () => { down = by === column && !down; by = column; sort(); });
    headings.append(element("th", { scope: "col", class: column.text ? "text" : "" }, button));
  }
  sort();
  const filter = element("input", { type: "search", placeholder: "show only trials with …", "aria-label": "Show only trials with" });
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const trial of data.trials) {
      const text = `${trial.state} ${trial.label} ${trial.overrides.join(" ")}`.toLowerCase();
      const off = !words.every((word) => text.includes(word));
      for (const made of shown.get(trial.number)) made.classList.toggle("off", off);
    }
  });
  const details = element("div", {});
  listeners.push((trial) => details.replaceChildren(...(trial ? known(trial) : [])));
  const made = element("section", { class: "wide" });
  made.append(
    element("div", { class: "bar" }, element("div", {}, element("h2", {}, "Trials"),
      element("span", { class: "note" }, "Point at a trial to see it in every plot; click to keep it; a heading sorts.")), filter),
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, headings), body)),
    details,
  );
  return made;
}

function rowOf(trial, all) {
  return element("tr", { "data-trial": trial.number, tabindex: 0 }, ...all.map((column) => {
    const value = column.value(trial) ?? null;
    const text = value === null ? "" : column.show ? column.show(value) : typeof value === "number" ? number(value) : value;
    const cell = element("td", { class: `${column.text ? "text" : ""}${column.name === "state" && value === "failed" ? " failed" : ""}` });
    if (column.text && text.length > 30) cell.title = text;
    if (column.swatch) cell.append(element("span", { class: "swatch", style: `background:${colour(trial)}` }));
    cell.append(column.swatch ? element("span", { class: "count" }, text) : text);
    return cell;
  }));
}

function known(trial) {
  const link = trial.url && /^https?:\/\//.test(trial.url) ? element("a", { href: trial.url, target: "_blank", rel: "noopener noreferrer" }, "its run in MLflow") : null;
  const found = Object.entries(trial.results).map(([name, value]) => `${name} ${number(value)}`).join(", ");
  return [
    element("pre", {}, element("code", {}, trial.overrides.join(" "))),
    element("p", {}, `Trial ${trial.number}, ${trial.state}. `, link),
    trial.message ? element("p", { class: trial.state === "failed" ? "failed" : "" }, trial.message) : null,
    element("p", { class: "soft" }, "Run directory: ", element("code", {}, trial.run)),
    found ? element("p", { class: "soft" }, found) : null,
  ].filter(Boolean);
}
