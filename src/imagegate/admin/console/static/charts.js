// Stacked bars of what stands in data-chart: {x: [seconds], series: [{name, values}]}. Colours come from the styles.
"use strict";
(() => {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const palette = () => [1, 2, 3, 4, 5, 6, 7, 8].map((n) => color(`--series-${n}`));
  const brief = (v) => (v >= 1e6 ? `${v / 1e6}M` : v >= 1e3 ? `${v / 1e3}k` : `${+v.toFixed(4)}`);

  function stacked(series) {
    const sums = [];
    const below = series[0] ? series[0].values.map(() => 0) : [];
    for (const one of series) {
      one.values.forEach((v, i) => { below[i] += v; });
      sums.push(below.slice());
    }
    return sums;
  }

  function legend(box, series, colors) {
    const list = document.createElement("ul");
    list.className = "legend";
    series.forEach((one, i) => {
      const item = document.createElement("li");
      const mark = document.createElement("span");
      mark.style.background = colors[i % colors.length];
      item.append(mark, one.name);
      list.append(item);
    });
    box.append(list);
  }

  function draw(box) {
    const { x, series, line } = JSON.parse(box.dataset.chart);
    const colors = palette();
    const sums = stacked(series);
    const step = x.length > 1 ? x[1] - x[0] : 86400;
    const axis = {
      stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    const day = { month: "short", day: "numeric", timeZone: "UTC" };
    const hour = { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: "UTC" };
    const shown = new Intl.DateTimeFormat(undefined, step < 86400 ? hour : day);
    box.replaceChildren();
    new uPlot({
      width: box.clientWidth, height: 220, padding: [8, 8, 0, 0], cursor: { show: false }, legend: { show: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), "Etc/UTC"),
      scales: { x: { range: [x[0] - step / 2, x[x.length - 1] + step / 2] }, y: { range: (_, lo, hi) => [0, hi || 1] } },
      axes: [
        { ...axis, grid: { show: false }, splits: () => x.filter((_, i) => i % Math.ceil(x.length / Math.max(box.clientWidth / 70, 2)) === 0), values: (_, at) => at.map((s) => shown.format(s * 1e3)) },
        { ...axis, size: 52, values: (_, at) => at.map(brief) },
      ],
      // The highest sum is drawn first, and each lower one over it.
      series: [{}, ...sums.map((_, i) => {
        const fill = colors[(sums.length - 1 - i) % colors.length];
        return { fill, stroke: fill, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 48] }) };
      }), ...(line ? [{ stroke: color("--bad"), width: 2, dash: [6, 4], points: { show: false } }] : [])],
    }, [x, ...sums.slice().reverse(), ...(line ? [x.map(() => line.value)] : [])], box);
    legend(box, line ? [...series, line] : series, line ? [...colors.slice(0, series.length), color("--bad")] : colors);
  }

  const all = [...document.querySelectorAll("[data-chart]")];
  const redraw = () => all.forEach(draw);
  let width = innerWidth;
  redraw();
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
