"use strict";
// The windows of a pseudo-mask cache: sorting, filters, pages, a large view and keys. Pictures of a window come in a
// script of their own, because pages that are opened from a file may load scripts but not data.
const gallery = (() => {
  const data = JSON.parse(document.getElementById("figures").textContent);
  const at = (id) => document.getElementById(id);
  const controls = at("controls").elements;
  const byNumber = new Map(data.windows.map((window) => [window.number, window]));
  const defaults = { sort: data.by, reverse: false, show: "all", clip: "", size: 20, page: 1, window: null };
  const state = { ...defaults };
  const pictures = new Map();
  const waiting = new Map();
  const HELD = 300;
  let shown = [];
  let current = 0;

  const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}%`);
  const fixed = (value, digits, unit = "") => (value === null ? "–" : value.toFixed(digits) + unit);
  const lowestFirst = (key) => data.lowest_first.includes(key);
  const isKept = (value) => value !== null && value > data.psnr_filter;

  for (const window of data.windows) {
    window.means.window = window.number;
    window.kept = window.psnr.filter(isKept).length;
  }

  const filters = {
    all: () => true,
    left: (window) => window.kept < window.frames.length,
    none_kept: (window) => window.kept === 0,
    empty: (window) => window.coverage.some((value) => value === 0),
    all_empty: (window) => window.coverage.every((value) => value === 0),
    full: (window) => window.coverage.some((value) => value > 0.8),
  };

  const select = () => {
    const turn = state.reverse ? -1 : 1;
    const sign = lowestFirst(state.sort) ? turn : -turn;
    const wanted = state.clip.toLowerCase();
    const keep = filters[state.show] ?? filters.all;
    return data.windows
      .filter((window) => keep(window) && window.scene.toLowerCase().includes(wanted))
      .sort((a, b) => {
        const [x, y] = [a.means[state.sort], b.means[state.sort]];
        if (x === null || y === null) return (x === null) - (y === null) || a.number - b.number;
        return sign * (x - y) || turn * (a.number - b.number);
      });
  };

  // The target that stands for a window: the worst by the sorting, or the middle one.
  const standIn = (window) => {
    const values = window[state.sort];
    const known = state.sort === "window" ? [] : values.map((value, row) => [value, row]).filter(([value]) => value !== null);
    if (!known.length) return Math.floor(window.frames.length / 2);
    const sign = lowestFirst(state.sort) ? 1 : -1;
    return known.reduce((best, entry) => (sign * (entry[0] - best[0]) < 0 ? entry : best))[1];
  };

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  const load = (number) => {
    if (pictures.has(number)) return Promise.resolve(pictures.get(number));
    if (waiting.has(number)) return waiting.get(number).promise;
    const entry = {};
    entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    waiting.set(number, entry);
    const script = make("script", { src: `windows/${String(number).padStart(6, "0")}.js` });
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      waiting.delete(number);
      entry.reject(new Error(`pictures of window ${number} are missing`));
    };
    document.head.append(script);
    return entry.promise;
  };

  const receive = (number, found) => {
    pictures.set(number, found);
    if (pictures.size > HELD) pictures.delete(pictures.keys().next().value);
    waiting.get(number)?.resolve(found);
    waiting.delete(number);
  };

  const heading = (first) => {
    const cells = first === null ? [] : [make("th", { scope: "col" }, first)];
    for (let view = 1; view <= data.inputs; view += 1) cells.push(make("th", { scope: "col" }, `input ${view}`));
    for (const column of data.columns) {
      const cell = make("th", { scope: "col" }, column.name);
      if (column.ramp) {
        const scale = make("img", { src: column.ramp, alt: "colour scale" });
        cell.append(make("span", { class: "ramp" }, make("span", {}, column.low), scale, make("span", {}, column.high)));
      }
      cells.push(cell);
    }
    return make("thead", {}, make("tr", {}, ...cells));
  };

  // Cells of a target's pictures; those of the inputs come with the first target and span `rows`.
  const cellsOf = (window, row, rows = 1) => {
    const views = rows ? Array.from({ length: data.inputs }, (_, view) => view) : [];
    const names = [
      ...views.map((view) => [view in window.inputs ? `input frame ${window.inputs[view]}` : "", false]),
      ...data.columns.map((column) => [`${column.name}, frame ${window.frames[row]}`, column.grid]),
    ];
    const cells = names.map((_, place) => {
      const span = rows > 1 && place < views.length ? { rowspan: rows } : {};
      return make("td", span, make("div", { class: "wait" }));
    });
    const put = (found) => {
      const sources = [...views.map((view) => found.inputs[view]), ...found.targets[row]];
      sources.forEach((src, place) => {
        const [name, grid] = names[place];
        cells[place].replaceChildren(
          ...(src ? [make("img", { src, alt: `${name} of ${window.scene}`, class: grid ? "grid" : "photo" })] : []),
        );
      });
    };
    load(window.number).then(put, (error) => cells[0].replaceChildren(make("span", { class: "left" }, error.message)));
    return cells;
  };

  const verdict = (value) =>
    isKept(value) ? make("span", { class: "kept" }, "kept") : make("span", { class: "left" }, "left out");

  const facts = (window) => {
    const parts = [
      `mean ${fixed(window.means.psnr, 1, " dB")}`,
      `${window.kept} of ${window.frames.length} kept`,
      `covers ${percent(window.means.coverage)}`,
      `maps disagree ${fixed(window.means.maps, 2)}`,
      `masks disagree ${fixed(window.means.masks, 2)}`,
    ];
    if (window.means.true !== null) parts.push(`truth covers ${percent(window.means.true)}`);
    if (window.means.iou !== null) parts.push(`IoU ${percent(window.means.iou)}`);
    return parts;
  };

  const drawList = () => {
    const windows = select();
    const pages = Math.max(1, Math.ceil(windows.length / state.size));
    state.page = Math.min(Math.max(1, state.page), pages);
    shown = windows.slice((state.page - 1) * state.size, state.page * state.size);
    current = Math.min(current, Math.max(0, shown.length - 1));
    document.body.style.setProperty("--columns", data.inputs + data.columns.length);
    at("list").replaceChildren(heading(null), ...shown.map(drawWindow));
    if (!shown.length) {
      const text = make("td", { class: "nothing", colspan: data.inputs + data.columns.length }, "No window is like this.");
      at("list").append(make("tbody", {}, make("tr", {}, text)));
    }
    at("count").textContent = `${windows.length} windows, page ${state.page} of ${pages}`;
    at("previous").disabled = state.page === 1;
    at("next").disabled = state.page === pages;
  };

  const drawWindow = (window, place) => {
    const row = standIn(window);
    const open = make("button", { type: "button", class: "open" }, `Window ${window.number}`);
    open.onclick = () => show(window.number);
    open.onfocus = () => mark(place);
    const seen = make("span", {}, `${window.scene}, frame ${window.frames[row]}: ${fixed(window.psnr[row], 1, " dB")}, `);
    seen.append(verdict(window.psnr[row]));
    const line = make("span", { class: "line" }, open, seen);
    line.append(...["window:", ...facts(window)].map((text) => make("span", {}, text)));
    const label = make("th", { scope: "rowgroup", colspan: data.inputs + data.columns.length }, line);
    const body = make("tbody", { "data-window": window.number });
    body.append(make("tr", { class: "label" }, label), make("tr", {}, ...cellsOf(window, row)));
    return body;
  };

  const mark = (place) => {
    current = place;
    at("list").querySelectorAll("tbody").forEach((body, index) => body.classList.toggle("current", index === place));
  };

  const focusOn = (place) => {
    const button = at("list").querySelectorAll("button.open")[place];
    if (!button) return;
    button.focus({ preventScroll: true });
    button.closest("tbody").scrollIntoView({ block: "nearest" });
  };

  // One window on or back, over the edges of pages.
  const step = (by) => {
    let place = current + by;
    if (!at("list").querySelector("tbody.current") && by > 0) place = 0;
    if (place < 0 && state.page > 1) {
      state.page -= 1;
      drawList();
      place = shown.length - 1;
    } else if (place >= shown.length && !at("next").disabled) {
      state.page += 1;
      drawList();
      place = 0;
    }
    current = Math.min(Math.max(0, place), Math.max(0, shown.length - 1));
    mark(current);
    if (at("large").open && shown.length) show(shown[current].number);
    else focusOn(current);
    remember();
  };

  const show = (number) => {
    const window = byNumber.get(number);
    if (!window) return;
    state.window = number;
    const place = shown.indexOf(window);
    if (place >= 0) mark(place);
    at("large-title").textContent = `Window ${number}: ${window.scene}`;
    at("large-text").textContent = `Frames ${window.frames.join(", ")}` +
      (window.inputs.length ? ` rendered from ${window.inputs.join(", ")}. ` : ". ") + `${facts(window).join(" · ")}.`;
    const rows = window.frames.map((frame, row) => {
      const lines = [`frame ${frame}`, fixed(window.psnr[row], 1, " dB"), verdict(window.psnr[row])];
      lines.push(`feature weight ${fixed(window.weight[row], 2)}`, `covers ${percent(window.coverage[row])}`);
      if (window.iou[row] !== null) lines.push(`IoU ${percent(window.iou[row])}`);
      const label = make("th", { scope: "row", class: "target" }, ...lines.flatMap((line) => [line, make("br")]));
      return make("tr", {}, label, ...cellsOf(window, row, row === 0 ? window.frames.length : 0));
    });
    at("large-table").replaceChildren(heading("target"), make("tbody", {}, ...rows));
    if (!at("large").open) at("large").showModal();
    remember();
  };

  const remember = () => {
    const changed = Object.entries(state).filter(([key, value]) => value !== null && value !== defaults[key]);
    history.replaceState(null, "", `#${new URLSearchParams(changed)}`);
  };

  const offers = (select, value) => [...select.options].some((option) => option.value === String(value));

  const recall = () => {
    Object.assign(state, defaults);
    const asked = new URLSearchParams(location.hash.slice(1));
    for (const key of ["sort", "show", "clip"]) if (asked.has(key)) state[key] = asked.get(key);
    for (const key of ["size", "page", "window"]) if (Number(asked.get(key)) || asked.get(key) === "0") state[key] = Number(asked.get(key));
    state.reverse = asked.get("reverse") === "true";
    for (const key of ["sort", "show", "size"]) if (!offers(controls[key], state[key])) state[key] = defaults[key];
    for (const key of ["sort", "show", "clip", "size"]) controls[key].value = state[key];
    controls.reverse.checked = state.reverse;
    const place = select().findIndex((window) => window.number === state.window);
    if (place >= 0) state.page = Math.floor(place / state.size) + 1;
    current = 0;
    drawList();
    if (place >= 0) show(state.window);
    else if (at("large").open) at("large").close();
  };

  const change = () => {
    Object.assign(state, { sort: controls.sort.value, show: controls.show.value, clip: controls.clip.value });
    Object.assign(state, { size: Number(controls.size.value), reverse: controls.reverse.checked, page: 1 });
    current = 0;
    drawList();
    document.querySelector("main").scrollTop = 0;
    remember();
  };

  const turn = (by) => {
    if ((by < 0 && at("previous").disabled) || (by > 0 && at("next").disabled)) return;
    state.page += by;
    current = 0;
    drawList();
    document.querySelector("main").scrollTop = 0;
    remember();
  };

  const nextSorting = () => {
    const usable = [...controls.sort.options].map((option) => option.value);
    controls.sort.value = usable[(usable.indexOf(state.sort) + 1) % usable.length];
    change();
  };

  const actions = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    j: () => step(1),
    k: () => step(-1),
    n: () => turn(1),
    p: () => turn(-1),
    s: nextSorting,
    r: () => controls.reverse.click(),
    "/": () => controls.clip.focus(),
    "?": () => at("keys").showModal(),
  };

  // Fields that keys mean something to themselves; the box for the order takes none but space.
  const TYPED = "select, input:not([type=checkbox])";

  controls.clip.addEventListener("keydown", (event) => {
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    controls.clip.blur();
    if (event.key === "Enter") focusOn(0);
  });
  for (const field of [controls.sort, controls.show, controls.size]) {
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") field.blur();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches(TYPED)) return;
    const inside = at("large").open ? ["ArrowRight", "ArrowLeft", "j", "k"] : Object.keys(actions);
    if (at("keys").open || !inside.includes(event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });
  at("controls").addEventListener("input", change);
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("previous").onclick = () => turn(-1);
  at("next").onclick = () => turn(1);
  at("large-previous").onclick = () => step(-1);
  at("large-next").onclick = () => step(1);
  at("large-close").onclick = () => at("large").close();
  at("keys-open").onclick = () => at("keys").showModal();
  at("keys-close").onclick = () => at("keys").close();
  at("large").addEventListener("close", () => {
    state.window = null;
    remember();
    focusOn(current);
  });
  window.addEventListener("hashchange", recall);
  document.addEventListener("DOMContentLoaded", recall);
  return { receive };
})();
