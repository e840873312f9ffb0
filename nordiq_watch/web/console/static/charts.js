// plotly.js, fetched when the first chart is drawn, in the console's own colours.

let arriving = null;

function plotly() {
  arriving ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.charts;
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => reject(new TypeError("the chart library did not arrive")));
    document.head.append(script);
  });
  return arriving;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** `#rrggbb` with an opacity from 0 to 1. */
export function faint(hex, opacity) {
  return hex + Math.round(opacity * 255).toString(16).padStart(2, "0");
}

/** Draws, or draws anew without flicker. `layout` is laid over what all charts share. */
export async function draw(element, traces, layout) {
  const library = await plotly();
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, fixedrange: true, automargin: true };
  const shared = {
    margin: { l: 8, r: 8, t: 8, b: 8 },
    height: 250,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("muted") },
    showlegend: false,
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("text"), size: 12 } },
  };
  await library.react(element, traces, {
    ...shared, ...layout,
    xaxis: { ...axis, showgrid: false, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  }, { displayModeBar: false, responsive: true });
}

/** Unix seconds as plotly's dates want them: the viewer's clock, without a zone. */
export function localDate(seconds) {
  const moment = new Date(seconds * 1000);
  return new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
