"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const drawings = [...document.querySelectorAll("[data-figure]")];
  const style = () => {
    const of = getComputedStyle(document.documentElement);
    return (name) => of.getPropertyValue(name).trim();
  };
  // Colours of text and grid follow the page; a figure brings only those of its traces.
  const themed = (layout) => {
    const css = style();
    const found = {
      ...layout,
      font: { ...layout.font, color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--soft"), activecolor: css("--link") },
      autosize: true,
    };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        found[key] = { ...layout[key], gridcolor: css("--grid"), zerolinecolor: css("--line"), linecolor: css("--line") };
      }
    }
    if (matchMedia("(pointer: coarse)").matches) found.dragmode = false;
    return found;
  };
  const config = {
    displaylogo: false, responsive: true, showTips: false, displayModeBar: "hover", plotlyServerURL: "",
    modeBarButtons: [["toImage", "resetScale2d"]],
  };
  const draw = (element) => {
    const figure = figures[element.dataset.figure];
    const ink = style()("--ink");
    const data = figure.data.map((trace) => (trace.type === "heatmap" ? { ...trace, textfont: { color: ink } } : trace));
    return Plotly.react(element, data, themed(figure.layout), config);
  };
  const drawAll = async () => {
    for (const element of drawings) await draw(element);
    document.documentElement.dataset.drawn = String(drawings.length);
  };
  const schemes = matchMedia("(prefers-color-scheme: dark)");
  schemes.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => {
    for (const element of document.querySelectorAll("details")) element.open = true;
    for (const element of drawings) Plotly.Plots.resize(element);
  });
  drawAll();

  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const share = (part, of) => (of > 0 ? `${((100 * part) / of).toFixed(1)} %` : "–");
  for (const explorer of document.querySelectorAll(".explorer")) {
    const data = JSON.parse(explorer.querySelector("script").textContent);
    const slider = explorer.querySelector("input");
    const show = () => {
      const [tp, fp, tn, fn] = data.counts[slider.value];
      const all = tp + fp + tn + fn;
      explorer.querySelector("output").textContent = String(Number(data.thresholds[slider.value].toPrecision(6)));
      for (const cell of explorer.querySelectorAll("[data-count]")) {
        const count = data.counts[slider.value][cell.dataset.count];
        cell.textContent = whole.format(count);
        cell.style.setProperty("--share", all > 0 ? count / all : 0);
      }
      const rates = {
        precision: share(tp, tp + fp), recall: share(tp, tp + fn), F1: share(2 * tp, 2 * tp + fp + fn),
        "false positive rate": share(fp, fp + tn), selected: share(tp + fp, all), accuracy: share(tp + tn, all),
      };
      for (const cell of explorer.querySelectorAll("[data-rate]")) cell.textContent = rates[cell.dataset.rate];
    };
    slider.addEventListener("input", show);
    explorer.querySelector("button").addEventListener("click", () => { slider.value = data.chosen; show(); });
    show();
  }
})();
