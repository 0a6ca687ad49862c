// Figures of a table as a plot; the table stays for everybody who does not see it.

export function plot(place) {
  const rows = [...place.parentElement.querySelectorAll(".samples tbody tr")];
  if (!rows.length || typeof uPlot === "undefined") return;
  const took = rows.map((row) => Number(row.cells[1].textContent));
  const order = rows.map((_, index) => index + 1);
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("i");
  place.append(probe);
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const [ink, line, accent] = [colour("--soft"), colour("--line"), colour("--a")];
  probe.remove();
  const font = `11px ${style.fontFamily}`;
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font };
  const told = place.parentElement.querySelector("output");
  const tell = (plotted) => {
    const index = plotted.cursor.idx;
    told.textContent = index == null ? "" : `${took[index].toFixed(1)} ms, ${new Date(rows[index].cells[0].textContent).toLocaleTimeString()}`;
  };
  const drawn = new uPlot({
    width: place.clientWidth,
    height: 176,
    cursor: { y: false, points: { size: 7 } },
    hooks: { setCursor: [tell] },
    legend: { show: false },
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high || 1) * 1.1] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick : "")) }, { ...axis, size: 52 }],
    series: [
      {},
      { label: "ms", stroke: accent, width: 1.5, points: { show: true, size: 4, fill: accent } },
    ],
  }, [order, took], place);
  new ResizeObserver(() => { drawn.setSize({ width: place.clientWidth, height: 176 }); }).observe(place);
}
