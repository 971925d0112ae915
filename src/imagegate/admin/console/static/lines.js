// Lines over time of what stands in data-lines: {x: [seconds], series: [{name, values}], unit}. null: there is no value.
"use strict";
(() => {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const brief = (v) => (Math.abs(v) >= 1e6 ? `${v / 1e6}M` : Math.abs(v) >= 1e3 ? `${v / 1e3}k` : `${+v.toFixed(4)}`);

  function named(box, series) {
    const list = document.createElement("ul");
    list.className = "legend";
    series.forEach((one, i) => {
      const item = document.createElement("li");
      const mark = document.createElement("span");
      mark.style.background = color(`--series-${i + 1}`);
      item.append(mark, one.name);
      list.append(item);
    });
    box.append(list);
  }

  function draw(box) {
    const { x, series, unit, steps } = JSON.parse(box.dataset.lines);
    const span = x[x.length - 1] - x[0];
    const shape = span <= 2 * 86400 ? { hour: "2-digit", minute: "2-digit", hour12: false } : { month: "short", day: "numeric" };
    const shown = new Intl.DateTimeFormat(undefined, { ...shape, timeZone: "UTC" });
    const axis = {
      stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    box.replaceChildren();
    new uPlot({
      width: box.clientWidth, height: 200, padding: [8, 8, 0, 0], cursor: { show: false }, legend: { show: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1e3), "Etc/UTC"),
      scales: { y: { range: (_, lo, hi) => [Math.min(0, lo ?? 0), hi > 0 ? hi * 1.05 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: 30, values: (_, at) => at.map((s) => shown.format(s * 1e3)) },
        { ...axis, size: 56, values: (_, at) => at.map((v) => `${brief(v)}${unit ?? ""}`) },
      ],
      series: [{}, ...series.map((_, i) => ({
        stroke: color(`--series-${i + 1}`), width: 2, points: { show: series.length > 1, size: 5 },
        fill: series.length > 1 ? undefined : `${color("--series-1")}22`,
        paths: steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
      }))],
    }, [x, ...series.map((one) => one.values)], box);
    if (series.length > 1) named(box, series);
  }

  const all = [...document.querySelectorAll("[data-lines]")];
  const redraw = () => all.forEach(draw);
  let width = innerWidth;
  redraw();
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
