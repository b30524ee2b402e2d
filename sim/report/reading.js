// What charts say under the pointer and the arrow keys. Charts are static pictures; a figure over time is drawn by uPlot in
// the place of its picture on a screen, where its time can be stretched as well. Without scripts and on paper the pictures stay.
"use strict";
(() => {
  const drawn = new WeakMap();  // a group of figures over time -> how to take its plots away
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const said = (value) => value === null || value === undefined ? "–"
    : Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));

  function node(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Makes `area` walk through `count` places by arrow keys; `go` shows a place, `where` tells the present one.
  function walks(area, title, count, go, where) {
    area.tabIndex = 0;
    area.setAttribute("role", "group");
    area.setAttribute("aria-label", `${title}: arrow keys read its values`);
    const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    area.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const from = where() ?? (step > 0 ? -1 : count);
      go(Math.min(Math.max(from + step, 0), count - 1));
    });
  }

  function picture(figure, stops) {
    const svg = figure.querySelector("svg[role=img]");
    const area = node("div", { class: "plot" });
    const out = node("output", { class: "values", "aria-live": "polite" });
    svg.replaceWith(area);
    area.append(svg);
    area.before(out);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "cursor");
    svg.append(line);
    const box = svg.viewBox.baseVal;
    let at = null;
    const go = (place) => {
      at = place;
      line.setAttribute("d", place === null ? "" : `M${stops[place][0]} 12V${box.height - 44}`);
      out.textContent = place === null ? "" : stops[place][1];
    };
    walks(area, figure.querySelector("figcaption").textContent, stops.length, go, () => at);
    area.addEventListener("pointermove", (event) => {
      const rect = svg.getBoundingClientRect();
      const x = (event.clientX - rect.left) / rect.width * box.width;
      let near = 0;
      stops.forEach((stop, place) => { if (Math.abs(stop[0] - x) < Math.abs(stops[near][0] - x)) near = place; });
      go(near);
    });
    area.addEventListener("pointerleave", () => go(null));
    area.addEventListener("blur", () => go(null));
  }

  function plot(figure, times, { unit, lines }) {
    const svg = figure.querySelector("svg[role=img]");
    const area = node("div", { class: "plot" });
    svg.after(area);
    figure.classList.add("live");
    const items = [...figure.querySelectorAll(".legend > span")];
    const values = items.map((item) => item.appendChild(node("b", {})));
    const when = node("output", { class: "values", "aria-live": "off" });
    figure.querySelector(".legend").after(when);
    const axis = (more) => ({ stroke: () => css("--quiet"), font: "12px system-ui", grid: { stroke: () => css("--rule"), width: 1 },
      ticks: { stroke: () => css("--rule"), width: 1 }, ...more });
    const u = new uPlot({
      width: figure.clientWidth, height: 220, legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { x: true, y: false }, points: { size: 7 } },
      scales: { x: { time: false }, y: { range: (self, low, high) => [Math.min(0, low ?? 0), (high ?? 0) > 0 ? high * 1.06 : 1] } },
      axes: [axis({ size: 30 }), axis({ size: 50, label: unit, labelSize: 18, labelGap: 2, labelFont: "12px system-ui" })],
      series: [{}, ...lines.map((line) => ({ stroke: () => css(`--c${line.colour}`), width: 2, dash: line.dash, points: { show: false },
        ...(line.step ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}) }))],
      hooks: { setCursor: [(self) => {
        const at = self.cursor.idx;
        const off = at === null || at === undefined;
        values.forEach((value, place) => { value.textContent = off ? "" : said(self.data[place + 1][at]); });
        when.textContent = off ? "" : `at ${said(self.data[0][at])} s`;
        area.setAttribute("aria-description", off ? "" : `${when.textContent}: ${items.map((item) => item.textContent).join(", ")}`);
      }] },
    }, [times, ...lines.map((line) => line.values)], area);
    const go = (at) => u.setCursor({ left: u.valToPos(times[at], "x"), top: u.bbox.height / devicePixelRatio / 2 }, true, true);
    walks(area, figure.querySelector("figcaption").textContent, times.length, go, () => u.cursor.idx);
    area.addEventListener("focus", () => when.setAttribute("aria-live", "polite"));
    area.addEventListener("blur", () => { when.setAttribute("aria-live", "off"); u.setCursor({ left: -10, top: -10 }, true, true); });
    area.addEventListener("keydown", (event) => { if (event.key === "Escape") u.setData(u.data); });
    return u;
  }

  function overTime(group) {
    const told = JSON.parse(group.querySelector("script.lines").textContent);
    const plots = [...group.querySelectorAll("figure")].map((figure, place) => plot(figure, told.time_s, told.charts[place]));
    const fit = () => plots.forEach((u) => u.setSize({ width: u.root.parentElement.clientWidth, height: 220 }));
    const sizes = new ResizeObserver(fit);
    sizes.observe(group);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => plots.forEach((u) => u.redraw(false, true));
    dark.addEventListener("change", redraw);
    drawn.set(group, () => { sizes.disconnect(); dark.removeEventListener("change", redraw); plots.forEach((u) => u.destroy()); });
  }

  // Wakes the charts of a document or of a part of it; `servecapStill` ends those of a part that goes.
  window.servecapRead = (root) => {
    for (const stops of root.querySelectorAll("script.stops")) picture(stops.closest("figure"), JSON.parse(stops.textContent));
    if (window.uPlot) root.querySelectorAll(".times").forEach(overTime);
  };
  window.servecapStill = (root) => root.querySelectorAll(".times").forEach((group) => drawn.get(group)?.());
  window.servecapRead(document);
})();
