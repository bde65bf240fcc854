
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const stage = $("stage"), svg = stage.querySelector("svg"), card = $("card"), search = $("search");
  const { targets, texts } = JSON.parse($("data").textContent);
  const nodes = [], rows = [];
  for (const node of svg.querySelectorAll(".node")) nodes[+node.dataset.i] = node;
  document.querySelectorAll("tbody tr").forEach((row, i) => { rows[i] = row; });
  const edges = [...svg.querySelectorAll(".edge")].map((element) => ({
    element, a: element.dataset.a.split(" ").map(Number), b: element.dataset.b.split(" ").map(Number),
  }));
  targets.forEach((t) => { t.children = []; });
  targets.forEach((t, i) => t.parents.forEach((p) => targets[p].children.push(i)));
  const boxes = nodes.map((node) => {
    const [x, y, w, h] = ["x", "y", "width", "height"].map((k) => +node.querySelector(".box").getAttribute(k));
    return { x, y, w, h, cx: x + w / 2, cy: y + h / 2 };
  });
  const hashOf = nodes.map((node) => node.getAttribute("href"));
  // The rows are where links lead without this script; with it, links pick targets in the picture.
  rows.forEach((row) => row.removeAttribute("id"));
  document.documentElement.classList.add("js");

  // ── view: pan and zoom by the viewBox
  const full = { w: svg.viewBox.baseVal.width, h: svg.viewBox.baseVal.height };
  const view = { x: 0, y: 0, scale: 1 }; // picture units at the corner; pixels per unit
  const show = () => svg.setAttribute("viewBox", [view.x, view.y, stage.clientWidth / view.scale, stage.clientHeight / view.scale].join(" "));
  const least = () => Math.min(1, stage.clientWidth / full.w, stage.clientHeight / full.h) * 0.8;
  const zoom = (factor, px = stage.clientWidth / 2, py = stage.clientHeight / 2) => {
    const scale = Math.min(4, Math.max(least(), view.scale * factor));
    view.x += px / view.scale - px / scale;
    view.y += py / view.scale - py / scale;
    view.scale = scale;
    show();
  };
  const fit = () => {
    view.scale = Math.min(1.4, stage.clientWidth / full.w, stage.clientHeight / full.h);
    view.x = (full.w - stage.clientWidth / view.scale) / 2;
    view.y = Math.min(0, (full.h - stage.clientHeight / view.scale) / 2);
    if (full.h * view.scale < stage.clientHeight) view.y = (full.h - stage.clientHeight / view.scale) / 4;
    show();
  };
  const reveal = (i, always) => {
    const b = boxes[i], right = card.hidden ? 0 : card.offsetWidth + 24;
    if (view.scale < 0.55) { view.scale = 0.9; always = true; }
    const w = (stage.clientWidth - right) / view.scale, h = stage.clientHeight / view.scale;
    const edge = (low, size, from, room) => (low < from + 24 ? low - 24 : low + size > from + room - 24 ? low + size + 24 - room : from);
    view.x = always ? b.cx - w / 2 : edge(b.x, b.w, view.x, w);
    view.y = always ? b.cy - h / 2 : edge(b.y, b.h, view.y, h);
    show();
  };

  // ── picking: a card, ancestors and descendants lit
  let picked = -1, current = 0, hits = [], hit = -1;
  const closure = (start, side) => {
    const found = new Set([start]), todo = [start];
    while (todo.length) for (const next of targets[todo.pop()][side]) if (!found.has(next)) { found.add(next); todo.push(next); }
    return found;
  };
  const make = (tag, text, cls) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (cls) element.className = cls;
    return element;
  };
  const list = (title, items, go) => {
    if (!items.length) return;
    const ul = make("ul");
    for (const item of items) {
      const li = make("li", go ? undefined : item);
      if (go) {
        const button = make("button", targets[item].name);
        button.type = "button";
        button.addEventListener("click", () => pick(item));
        li.append(button);
      }
      ul.append(li);
    }
    card.append(make("h3", `${title} (${items.length})`), ul);
  };
  const fill = (i, above, below) => {
    const t = targets[i], cells = rows[i].cells;
    card.replaceChildren();
    const close = make("button", "×", "close");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", clear);
    card.append(close, make("h2", t.name), make("p", [cells[0].textContent, cells[3].textContent].filter(Boolean).join(" · "), "sub"));
    const image = cells[1].querySelector("small");
    if (image) card.append(make("p", image.textContent, "sub"));
    card.append(make("p", `in all built on ${above}, needed by ${below}`, "sub"));
    if (cells[2].childNodes.length) card.append(make("h3", "Reasons"), ...cells[2].cloneNode(true).childNodes);
    list("Built on", t.parents, true);
    list("Needed by", t.children, true);
    list("Inputs", t.inputs.map((k) => texts[k]).concat(t.more ? [`… and ${t.more} more`] : []));
    card.hidden = false;
    card.scrollTop = 0;
  };
  const light = (i) => {
    const up = closure(i, "parents"), down = closure(i, "children");
    nodes.forEach((node, k) => {
      node.classList.toggle("on", up.has(k) || down.has(k));
      node.classList.toggle("picked", k === i);
    });
    for (const { element, a, b } of edges) {
      const on = [up, down].some((set) => a.some((k) => set.has(k)) && b.some((k) => set.has(k)));
      element.classList.toggle("on", on);
    }
    svg.classList.add("lit");
    return [up.size - 1, down.size - 1];
  };
  const focus = (i) => {
    nodes[current].tabIndex = -1;
    current = i;
    nodes[i].tabIndex = 0;
    if (document.activeElement !== search) nodes[i].focus({ preventScroll: true });
  };
  const address = (hash) => { try { history.replaceState(null, "", hash || location.pathname + location.search); } catch { /* a file's address may be fixed */ } };
  const pick = (i, always) => {
    picked = i;
    fill(i, ...light(i));
    focus(i);
    reveal(i, always);
    address(hashOf[i]);
  };
  const clear = () => {
    picked = -1;
    card.hidden = true;
    svg.classList.remove("lit");
    nodes.forEach((node) => node.classList.remove("on", "picked"));
    address("");
    nodes[current].focus({ preventScroll: true });
  };

  // ── search
  const words = rows.map((row) => row.textContent.toLowerCase());
  const find = () => {
    const parts = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = parts.length ? words.flatMap((text, i) => (parts.every((part) => text.includes(part)) ? [i] : [])) : [];
    hit = -1;
    svg.classList.toggle("hits", parts.length > 0);
    const set = new Set(hits);
    nodes.forEach((node, i) => node.classList.toggle("hit", set.has(i)));
    $("found").textContent = parts.length ? (hits.length ? `${hits.length} found` : "none found") : "";
  };
  search.addEventListener("input", find);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && hits.length) {
      hit = (hit + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
      svg.classList.remove("hits");
      pick(hits[hit], true);
      $("found").textContent = `${hit + 1} of ${hits.length}`;
    } else if (event.key === "Escape") {
      search.value = "";
      find();
      nodes[current].focus({ preventScroll: true });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // ── mouse and touch
  let drag = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || card.contains(event.target)) return;
    drag = { x: event.clientX, y: event.clientY, moved: false, node: event.target.closest(".node") };
  });
  window.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 5) return;
    drag.moved = true;
    stage.classList.add("drag");
    view.x -= dx / view.scale;
    view.y -= dy / view.scale;
    drag.x = event.clientX;
    drag.y = event.clientY;
    show();
  });
  let moved = false;
  window.addEventListener("pointerup", () => {
    moved = Boolean(drag && drag.moved);
    drag = null;
    stage.classList.remove("drag");
  });
  svg.addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    if (node || moved) event.preventDefault();
    if (moved) return;
    if (node) pick(+node.dataset.i);
    else if (picked >= 0) clear();
  });
  svg.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("wheel", (event) => {
    if (card.contains(event.target)) return;
    event.preventDefault();
    const corner = stage.getBoundingClientRect();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    zoom(Math.exp(-Math.max(-60, Math.min(60, step)) / 260), event.clientX - corner.left, event.clientY - corner.top);
  }, { passive: false });

  // ── keys
  const go = (key) => {
    const from = boxes[current], sideways = key === "ArrowLeft" || key === "ArrowRight", sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
    const kin = key === "ArrowLeft" ? targets[current].parents : key === "ArrowRight" ? targets[current].children : [];
    const choice = kin.length ? kin : sideways ? [] : boxes.keys();
    let best = -1, least = Infinity;
    for (const i of choice) {
      const dx = boxes[i].cx - from.cx, dy = boxes[i].cy - from.cy;
      if (i === current || (!sideways && dy * sign <= 1)) continue;
      const cost = sideways ? Math.abs(dy) : Math.abs(dy) + 4 * Math.abs(boxes[i].x - from.x);
      if (cost < least) { least = cost; best = i; }
    }
    if (best < 0) return;
    if (picked >= 0) pick(best); else { focus(best); reveal(best); }
  };
  const theme = () => {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
  document.addEventListener("keydown", (event) => {
    if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) return;
    const inCard = card.contains(event.target), onNode = event.target.closest && event.target.closest(".node");
    if (event.key === "/") search.focus();
    else if (event.key === "Escape") { if (svg.classList.contains("hits")) { search.value = ""; find(); } clear(); }
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (event.key === "t") theme();
    else if ((event.key === "Enter" || event.key === " ") && onNode) pick(+onNode.dataset.i);
    else if (event.key.startsWith("Arrow") && !inCard && (onNode || picked >= 0)) go(event.key);
    else return;
    event.preventDefault();
  });
  $("in").addEventListener("click", () => zoom(1.25));
  $("out").addEventListener("click", () => zoom(0.8));
  $("fit").addEventListener("click", fit);
  $("theme").addEventListener("click", theme);

  // ── start: one stop of the Tab key for the whole picture, and what the address asks for
  nodes.forEach((node, i) => { node.tabIndex = i ? -1 : 0; });
  new ResizeObserver(show).observe(stage);
  const wanted = () => {
    const i = hashOf.indexOf(location.hash);
    if (i >= 0) pick(i);
  };
  window.addEventListener("hashchange", wanted);
  fit();
  scrollTo(0, 0);
  wanted();
})();
