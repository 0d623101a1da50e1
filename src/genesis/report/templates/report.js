"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const media = matchMedia("(prefers-color-scheme: dark)");
  const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* opened from disk: forget */ } };
  const asked = new URLSearchParams(location.hash.startsWith("#theme=") ? location.hash.slice(1) : "").get("theme");
  const chosen = asked || recall("genesis-theme");
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : media.matches);
  const narrow = () => innerWidth < 641;

  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob($(id).textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const colours = () => {
    const css = getComputedStyle(root);
    const get = (name) => css.getPropertyValue(name).trim();
    return { ink: get("--ink"), soft: get("--soft"), grid: get("--grid"), card: get("--card"), line: get("--line") };
  };
  const template = () => {
    const c = colours();
    const axis = { gridcolor: c.grid, zerolinecolor: c.line, linecolor: c.line, tickcolor: c.line, title: { standoff: 8 } };
    return { layout: {
      font: { color: c.ink, size: narrow() ? 11 : 12, family: "system-ui, sans-serif" },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis, yaxis: axis, colorway: ["#3b82c4", "#d9822b", "#2f9e6e", "#8b6fc0", "#d1495b"],
      hoverlabel: { bgcolor: c.card, bordercolor: c.line, font: { color: c.ink } },
      modebar: { color: c.soft, activecolor: c.ink, bgcolor: "rgba(0,0,0,0)" } } };
  };
  const dress = (layout, count) => {
    const out = { ...layout, template: template(), autosize: true };
    out.margin = { l: 44, r: 12, t: layout.annotations && layout.annotations.length ? 26 : 12, b: 40, ...(layout.margin || {}) };
    out.legend = { orientation: "h", y: -0.16, yanchor: "top", x: 0, font: { size: 11 }, ...(layout.legend || {}) };
    if (narrow() && count > 5 && layout.showlegend === undefined) out.showlegend = false;
    out.dragmode = narrow() ? false : layout.dragmode || "zoom";
    for (const key of Object.keys(out)) {
      if (/^[xy]axis/.test(key) && narrow()) out[key] = { ...out[key], nticks: key === "yaxis2" ? 3 : 6 };
      if (/^xaxis/.test(key) && narrow() && out[key].ticktext) out[key] = { ...out[key], tickangle: 90 };
      if (/^yaxis/.test(key) && narrow() && out[key].title) out[key] = { ...out[key], title: { text: "" } };
    }
    return out;
  };
  const slim = (data) => (narrow() ? data.map((trace) => (trace.texttemplate ? { ...trace, texttemplate: "" } : trace)) : data);
  const config = { responsive: true, displaylogo: false, showTips: false, displayModeBar: !narrow(),
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };

  const drawn = new Set();
  let figures = {};
  const draw = (box) => {
    const spec = figures[box.dataset.figure];
    if (!spec) return undefined;
    drawn.add(box);
    return Plotly.react(box, slim(spec.data), dress(spec.layout, spec.data.length), config);
  };
  const repaint = () => { for (const box of drawn) Plotly.relayout(box, { template: template() }); };
  $("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember("genesis-theme", root.dataset.theme);
    repaint();
  });
  media.addEventListener("change", () => { if (!root.dataset.theme) repaint(); });

  const show = (value, column) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number" || column.as === "typed") return String(value);
    return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(column.name === "score" ? 5 : 4)));
  };
  const table = ({ columns, data, order }) => {
    const rows = data[0].length, names = columns.map((c) => c.name);
    let sorted = order, column = 1, down = true, page = 0, kept = sorted;
    const size = 25, head = $("all").tHead, body = $("all").tBodies[0];
    const place = (name) => {
      const exact = names.indexOf(name);
      return exact >= 0 ? exact : names.findIndex((n) => n.endsWith("." + name));
    };
    const tests = (text) => text.trim().split(/\s+/).filter(Boolean).map((word) => {
      const parts = /^(.+?)(<=|>=|!=|=|<|>)(.+)$/.exec(word);
      const at = parts ? place(parts[1]) : -1;
      if (at >= 0) {
        const wanted = columns[at].kind === "number" ? Number(parts[3]) : parts[3];
        const compare = { "<": (a) => a < wanted, ">": (a) => a > wanted, "<=": (a) => a <= wanted, ">=": (a) => a >= wanted,
          "=": (a) => a === wanted, "!=": (a) => a !== wanted }[parts[2]];
        return (row) => data[at][row] !== null && compare(data[at][row]);
      }
      const lower = word.toLowerCase();
      const texts = columns.map((c, i) => i).filter((i) => columns[i].kind === "text");
      return (row) => texts.some((i) => String(data[i][row]).toLowerCase().includes(lower));
    });
    const paint = () => {
      const pages = Math.max(1, Math.ceil(kept.length / size));
      page = Math.min(page, pages - 1);
      body.textContent = "";
      for (const row of kept.slice(page * size, page * size + size)) {
        const line = body.insertRow();
        columns.forEach((c, i) => {
          const cell = i ? line.insertCell() : line.appendChild(document.createElement("th"));
          if (!i) cell.scope = "row";
          if (c.kind === "text") cell.className = "text";
          cell.textContent = show(data[i][row], c);
        });
      }
      $("page").textContent = `${kept.length.toLocaleString("en")} of ${rows.toLocaleString("en")} trials, page ${page + 1} of ${pages}`;
      $("prev").disabled = page === 0;
      $("next").disabled = page >= pages - 1;
      [...head.rows[0].cells].forEach((cell, i) => {
        cell.setAttribute("aria-sort", i === column ? (down ? "descending" : "ascending") : "none");
      });
      // the second column stands beside the first, which is as wide as its longest number
      $("all").style.setProperty("--first", `${head.rows[0].cells[0].getBoundingClientRect().width}px`);
    };
    const filter = () => {
      const wanted = tests($("filter").value);
      kept = wanted.length ? sorted.filter((row) => wanted.every((test) => test(row))) : sorted;
      page = 0;
      paint();
    };
    const sort = (i) => {
      down = i === column ? !down : columns[i].kind === "number" && i > 0;
      column = i;
      const values = data[i], sign = down ? -1 : 1;
      sorted = [...order].sort((a, b) => {
        const x = values[a], y = values[b];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
      filter();
    };
    const line = head.insertRow();
    columns.forEach((c, i) => {
      const cell = line.appendChild(document.createElement("th"));
      cell.scope = "col";
      if (c.kind === "text") cell.className = "text";
      const button = cell.appendChild(document.createElement("button"));
      button.type = "button";
      c.name.split(/(?<=[._])/).forEach((part, at) => button.append(...(at ? [document.createElement("wbr"), part] : [part])));
      button.addEventListener("click", () => sort(i));
    });
    $("filter").addEventListener("input", filter);
    $("clear").addEventListener("click", () => { $("filter").value = ""; filter(); });
    $("prev").addEventListener("click", () => { page -= 1; paint(); });
    $("next").addEventListener("click", () => { page += 1; paint(); });
    $("table").hidden = false;
    $("static").hidden = true;
    paint();
  };

  const start = async () => {
    if (typeof DecompressionStream === "undefined") { $("unsupported").hidden = false; return; }
    const payload = JSON.parse(await unpack("payload"));
    figures = payload.figures;
    table(payload.table);
    root.dataset.table = "ready";
    const code = document.createElement("script");
    code.textContent = await unpack("plotly");
    document.head.appendChild(code);
    const boxes = [...document.querySelectorAll("[data-figure]")];
    const watcher = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) if (isIntersecting) { watcher.unobserve(target); draw(target); }
    }, { rootMargin: "400px" });
    const everything = location.hash.includes("all=1") || root.hasAttribute("data-all");
    for (const box of boxes) if (everything) draw(box); else watcher.observe(box);
    addEventListener("beforeprint", () => boxes.forEach((box) => drawn.has(box) || draw(box)));
    const pick = $("pick");
    if (pick) pick.addEventListener("change", () => {
      const box = $("price-plot"), spec = figures[pick.value];
      box.dataset.figure = pick.value;
      box.setAttribute("aria-label", spec.words);
      $("price-words").textContent = spec.words;
      draw(box);
    });
    root.dataset.ready = String(Math.round(performance.now()));
  };
  start().catch((error) => { console.error(error); $("unsupported").hidden = false; });
})();
