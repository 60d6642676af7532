// Draws lines and bars of the charts anew, with a cursor that says the figures. Without it the
// server's own stand there, with the same axes.
(() => {
  "use strict";
  const texts = JSON.parse(document.getElementById("msm").dataset.texts);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  // The server's scales: 11.5 pixels for each doubling and 1 ms at 121; bars from 50 up to 16.
  const ms = (y) => 2 ** ((121 - y) / 11.5);
  const LOWEST = ms(144), HIGHEST = ms(4), BASE = 50, TOP = 16;
  const KINDS = {
    latency: [["p50", "--off", 1.5, [2, 3]], ["p95", "--accent", 2.2], ["p99", "--text", 1.4, [7, 3]], ["limit", "--bad", 1.2, [9, 4]]],
    lost: [["lost", "--bad", 1]],
    kept: [["kept", "--off", 1]],
  };
  const charts = new Map();

  // A step is two points, so that lines go in steps and end where nothing is known.
  const stepped = (values) => values.flatMap((value) => [value, value]);
  const data = (numbers) => {
    const step = numbers.x.length > 1 ? numbers.x[1] - numbers.x[0] : 0;
    const rows = numbers.limit ? [...numbers.y, numbers.x.map(() => numbers.limit)] : numbers.y;
    return [numbers.x.flatMap((at) => [at, at + step - 1]), ...rows.map(stepped)];
  };
  const clamped = (row) => row.map((value) => value === null ? null : Math.min(HIGHEST, Math.max(LOWEST, value)));

  // Nothing is no line.
  const bars = (row) => row.map((value) => value || null);

  // What all charts of a card know of the place of the cursor, in one line above them.
  const say = (card, place) => {
    const line = card.querySelector(".read");
    const parts = [];
    for (const [element, chart] of charts) {
      if (!card.contains(element)) continue;
      const { numbers, kind } = chart;
      if (!parts.length) parts.push(`${new Date(numbers.x[place] * 1000).toISOString().slice(5, 16).replace("T", " ")} UTC`);
      numbers.y.forEach((row, n) => {
        const value = row[place], name = KINDS[kind][n][0];
        if (kind === "latency") parts.push(`${name} ${value === null ? "–" : fill(texts.most, { n: value })}`);
        else parts.push(`${texts[name]} ${value === null ? "–" : value}`);
      });
    }
    line.textContent = parts.join(" · ");
  };

  const draw = (element) => {
    const numbers = JSON.parse(element.dataset.numbers), kind = element.dataset.chart;
    const { begin, end } = element.closest("[data-begin]").dataset;
    const lane = element.querySelector("svg.lane"), card = element.closest("section");
    if (!numbers.x.length || !lane.clientWidth) return;
    const height = Number(lane.getAttribute("height"));
    const colours = getComputedStyle(document.documentElement);
    const most = Math.max(0, ...numbers.y.flat().filter((value) => value !== null)) || 1;
    const rows = data(numbers);
    const [low, high] = kind === "latency" ? [ms(height), ms(0)] : [((BASE - height) * most) / (BASE - TOP), (BASE * most) / (BASE - TOP)];
    const series = KINDS[kind].slice(0, rows.length - 1).map(([label, token, width, dash]) => {
      const stroke = colours.getPropertyValue(token).trim();
      return { label, stroke, width, dash, points: { show: false }, ...(kind === "latency" ? {} : { fill: `${stroke}${kind === "lost" ? "" : "55"}` }) };
    });
    const plot = new uPlot({
      width: lane.clientWidth,
      height,
      padding: [0, 0, 0, 0],
      legend: { show: false },
      axes: [{ show: false }, { show: false }],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false, setScale: false }, sync: { key: "msm" } },
      scales: { x: { time: false, range: [Number(begin), Number(end)] }, y: { distr: kind === "latency" ? 3 : 1, log: 2, range: [low, high] } },
      series: [{}, ...series],
      hooks: { setCursor: [(u) => { if (typeof u.cursor.idx === "number") say(card, u.cursor.idx >> 1); }] },
    }, kind === "latency" ? [rows[0], ...rows.slice(1).map(clamped)] : [rows[0], ...rows.slice(1).map(bars)], element);
    plot.root.setAttribute("aria-hidden", "true");
    element.classList.add("live");
    const line = card.querySelector(".read");
    if (line.hidden) line.textContent = texts.point;
    line.hidden = false;
    charts.set(element, { plot, numbers, kind });
  };
  const drop = (element) => {
    charts.get(element)?.plot.destroy();
    charts.delete(element);
    element.classList.remove("live");
  };
  const all = () => {
    for (const element of [...charts.keys()]) drop(element);
    // Colours that the reader chose are those of the server's drawing.
    if (matchMedia("(forced-colors: active)").matches) return;
    for (const element of document.querySelectorAll("[data-chart]")) draw(element);
  };
  let due = 0;
  const soon = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(all);
  };

  all();
  document.addEventListener("msm:swapped", soon);
  addEventListener("resize", soon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  new MutationObserver(soon).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  // On a phone a part that was folded has no width until it is opened.
  document.addEventListener("change", (event) => event.target.matches(".fold > input") && soon());
})();
