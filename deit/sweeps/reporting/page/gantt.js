// Which cards were in use when.

// Lanes (cards), the time during which anything ran, and the share of that time in which cards were in use.
const use = (() => {
  const bars = data.trials.flatMap((trial) => trial.attempts.map((attempt, i) => ({ trial, attempt, which: i + 1 })));
  const seen = [...new Set(bars.flatMap(({ attempt }) => attempt.cards))].sort((a, b) => a - b);
  // An executor that does not know which cards a trial got: each such trial takes free lanes of its own.
  const lanes = seen.map((card) => ({ name: `${data.card} ${card}`, card, until: -Infinity }));
  if (!seen.length || seen.length < (data.cards ?? 0)) {
    for (let card = 0; seen.length && lanes.length < data.cards; card++) if (!seen.includes(card)) lanes.push({ name: `${data.card} ${card}`, card, until: -Infinity });
    lanes.sort((a, b) => a.card - b.card);
  }
  const free = [];
  for (const bar of [...bars].sort((a, b) => a.attempt.began - b.attempt.began)) {
    if (bar.attempt.cards.length) { bar.lanes = bar.attempt.cards.map((card) => lanes.findIndex((lane) => lane.card === card)); continue; }
    bar.own = [];
    for (let i = 0; i < bar.trial.cards; i++) {
      let lane = free.find((one) => one.until <= bar.attempt.began && !bar.own.includes(one));
      if (!lane) free.push((lane = { name: `#${free.length + 1}`, card: null }));
      lane.until = bar.attempt.ended;
      bar.own.push(lane);
    }
  }
  lanes.push(...free);
  for (const bar of bars) if (bar.own) bar.lanes = bar.own.map((lane) => lanes.indexOf(lane));
  // Pauses in which nothing ran, as between a launch and the one that went on with the sweep, are left out.
  const spans = [];
  for (const { attempt } of [...bars].sort((a, b) => a.attempt.began - b.attempt.began)) {
    const last = spans.at(-1);
    if (last && attempt.began <= last[1]) last[1] = Math.max(last[1], attempt.ended);
    else spans.push([attempt.began, attempt.ended]);
  }
  const busy = spans.reduce((sum, [began, ended]) => sum + ended - began, 0);
  const pause = Math.max(60, 0.1 * busy), parts = [];
  for (const [began, ended] of spans) {
    const last = parts.at(-1);
    if (last && began - last[1] <= pause) last[1] = ended;
    else parts.push([began, ended]);
  }
  const length = parts.reduce((sum, [began, ended]) => sum + ended - began, 0);
  const along = (time) => { // seconds of the parts that lie before `time`
    let sum = 0;
    for (const [began, ended] of parts) { if (time >= ended) sum += ended - began; else return sum + Math.max(0, time - began); }
    return sum;
  };
  const seconds = lanes.map((_, i) => bars.reduce((sum, bar) => sum + (bar.lanes.includes(i) ? bar.attempt.ended - bar.attempt.began : 0), 0));
  return { bars, lanes, parts, length, along, shares: seconds.map((sum) => (length ? sum / length : 0)), busy: length && lanes.length ? seconds.reduce((a, b) => a + b, 0) / (length * lanes.length) : null };
})();

function ganttPlot() {
  if (!use.length) return section(`Use of the ${data.card}s`, "No trial has started yet.", true);
  const line = use.lanes.length > 16 ? 16 : 24, height = use.lanes.length * line + 44;
  const box = { left: 70, right: 1340, top: 6, bottom: height - 36 }, svg = canvas(1400, height, "Use of the cards over time");
  const unit = use.length > 7200 ? [3600, "h"] : use.length > 180 ? [60, "min"] : [1, "s"];
  const x = scale(0, use.length / unit[0], box.left, box.right), at = (time) => x(use.along(time) / unit[0]);
  for (const tick of steps(0, use.length / unit[0], 10)) {
    svg.append(shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom }));
    svg.append(shape("text", { x: x(tick), y: box.bottom + 15, "text-anchor": "middle" }, number(tick)));
  }
  svg.append(shape("text", { x: (box.left + box.right) / 2, y: box.bottom + 31, "text-anchor": "middle" }, `${unit[1]} since the first trial began${use.parts.length > 1 ? "; pauses between launches are left out (dashed lines)" : ""}`));
  use.lanes.forEach((lane, i) => {
    const y = box.top + i * line;
    svg.append(shape("rect", { x: box.left, y: y + 2, width: box.right - box.left, height: line - 4, rx: 3, fill: "var(--grid)" }));
    svg.append(shape("text", { x: box.left - 8, y: y + line / 2 + 4, "text-anchor": "end", class: "ink" }, lane.name));
    svg.append(shape("text", { x: box.right + 8, y: y + line / 2 + 4 }, `${Math.round(100 * use.shares[i])} %`));
  });
  for (const { trial, attempt, which, lanes } of use.bars) {
    const left = at(attempt.began), wide = Math.max(1.5, at(attempt.ended) - left - 1);
    const wrong = attempt.failed;
    const note = `${told(trial)}\nattempt ${which}: ${duration(attempt.ended - attempt.began)}${attempt.open ? ", not ended" : `, exit code ${attempt.exit_code ?? "unknown"}`}`;
    for (const lane of lanes) {
      const y = box.top + lane * line + 2;
      svg.append(shape("rect", { class: "block", "data-trial": trial.number, "data-note": note, x: left, y, width: wide, height: line - 4, rx: 3, fill: colour(trial), "fill-opacity": wrong ? 0.25 : 0.85, stroke: wrong ? "var(--bad)" : "none", "stroke-width": 1.5, "stroke-dasharray": wrong ? "4 2" : null }));
      if (wide > 24 && line > 16) svg.append(shape("text", { x: left + wide / 2, y: y + line / 2 + 2, "text-anchor": "middle", "pointer-events": "none", style: "fill:#fff;paint-order:stroke;stroke:#0009;stroke-width:2.5px" }, String(trial.number)));
    }
  }
  let before = 0;
  for (const [began, ended] of use.parts.slice(0, -1)) {
    before += ended - began;
    svg.append(shape("line", { x1: x(before / unit[0]), x2: x(before / unit[0]), y1: box.top, y2: box.bottom, style: "stroke:var(--ink)", "stroke-dasharray": "3 3" }));
  }
  return section(`Use of the ${data.card}s`, `${Math.round(100 * use.busy)} % of ${use.lanes.length} ${data.card}${use.lanes.length > 1 ? "s" : ""} over ${duration(use.length)}; at the right the share of each. Red dashes: attempts that failed.`, true, svg);
}
