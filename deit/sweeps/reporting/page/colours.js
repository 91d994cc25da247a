// The colours of the trials: few get those of Okabe and Ito. Many are coloured by their first
// objective on viridis, the better the further from the background; both follow the theme.
const FEW = 8;
const VIRIDIS = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]];

// part: 0 for the worst, 1 for the best.
function shade(part) {
  const along = (dark.matches ? 0.22 + 0.78 * part : 0.86 * (1 - part)) * (VIRIDIS.length - 1);
  const index = Math.min(Math.floor(along), VIRIDIS.length - 2), rest = along - index;
  return `rgb(${VIRIDIS[index].map((value, i) => Math.round(value + (VIRIDIS[index + 1][i] - value) * rest)).join(",")})`;
}

// 0 to 1 for the values of the first objective, 1 for the best. One trial gone astray leaves the others their colours: what is
// beyond the quartiles by more than three times their distance counts as the end of the scale.
const goodness = (() => {
  const known = data.trials.map((trial) => trial.objectives[0]).filter((value) => value !== null).sort((a, b) => a - b);
  if (!known.length) return () => 0.5;
  const at = (part) => known[Math.round(part * (known.length - 1))], reach = 3 * (at(0.75) - at(0.25)) || Infinity;
  const inside = known.filter((value) => value >= at(0.25) - reach && value <= at(0.75) + reach);
  const [low, high] = [inside[0], inside[inside.length - 1]];
  return (value) => {
    const part = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 1;
    return data.objectives[0].direction === "maximize" ? part : 1 - part;
  };
})();

function colour(trial) {
  if (data.trials.length <= FEW) return OKABE_ITO[data.trials.indexOf(trial)];
  return trial.objectives[0] === null ? "var(--none)" : shade(goodness(trial.objectives[0]));
}
