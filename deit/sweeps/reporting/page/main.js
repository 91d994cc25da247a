// The page from top to bottom; drawn again when the theme changes, because colours depend on it.

function draw() {
  listeners.length = 0;
  pinned = null;
  const swept = data.parameters.length > 0;
  const plots = [
    ...Object.entries(data.curves).map(([name, lines]) => (width) => curvePlot(name, lines, width)),
    ...(data.objectives.length > 1 ? [paretoPlot] : []),
    ...(swept ? [importancePlot] : []),
    ...(data.settings.some((setting) => setting.trials.length > 1) ? [seedPlot] : []),
  ];
  // Plots are shown in pairs; where their number is odd, the first three share a row.
  const three = plots.length % 2 && plots.length > 1;
  const sections = data.trials.length ? [
    ...(data.verdict ? [settingsTable()] : []),
    table(),
    ...plots.map((plot, i) => {
      const made = plot(three && i < 3 ? 450 : 680);
      if (three && i < 3) made.classList.add("third");
      return made;
    }),
    ...(swept ? [parallelPlot()] : []),
    ganttPlot(),
  ] : [];
  document.getElementById("page").replaceChildren(head(), ...sections);
  collect();
}

document.body.append(tip);
watch();
draw();
dark.addEventListener("change", draw);
