// Keeps the page up to date. Without it the page is the same, and is reloaded by hand.
(() => {
  "use strict";
  const data = document.getElementById("msm").dataset;
  const texts = JSON.parse(data.texts);
  const [live, pause, bar, say, theme] = ["live", "pause", "bar", "say", "theme"].map((id) => document.getElementById(id));
  const root = document.documentElement;
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  const narrow = matchMedia("(max-width: 560px)");

  // -- time: the server's clock, because a browser's may be wrong
  let at = Number(data.at);
  let skew = at - Date.now() / 1000;
  const now = () => Date.now() / 1000 + skew;
  const length = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return fill(texts.s, { n: s });
    if (s < 3600) return fill(texts.min, { n: Math.floor(s / 60) });
    if (s < 86400) return fill(texts.h, { n: Math.floor(s / 3600) });
    return fill(texts.d, { n: Math.floor(s / 86400) });
  };
  const write = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const tick = () => {
    for (const element of document.querySelectorAll("time[data-age]")) {
      write(element, fill(texts.ago, { time: length(now() - Date.parse(element.dateTime) / 1000) }));
    }
    for (const element of document.querySelectorAll("time[data-left]")) {
      const left = Date.parse(element.dateTime) / 1000 - now();
      write(element, left > 0 ? length(left) : texts.moment);
    }
    const still = paused || over || failures > 1;
    if (live && wait) {
      live.className = still ? "live off" : "live on";
      write(live, fill(still ? texts.paused : narrow.matches ? texts.short : texts.live, { age: length(now() - at) }));
    }
    if (failures > 1) {
      const time = new Date(at * 1000).toISOString().slice(11, 19);
      show(fill(texts.stale, { time, left: length(Math.max(0, next - now())) }));
    }
  };

  // -- theme
  const names = ["system", "light", "dark"];
  if (theme) {
    const label = () => {
      const name = fill(texts.theme, { name: texts[root.dataset.theme || "system"] });
      theme.setAttribute("aria-label", name);
      theme.title = name;
    };
    theme.hidden = false;
    label();
    theme.addEventListener("click", () => {
      const name = names[(names.indexOf(root.dataset.theme || "system") + 1) % 3];
      if (name === "system") delete root.dataset.theme;
      else root.dataset.theme = name;
      const life = name === "system" ? 0 : 31536000;
      document.cookie = `msm_admin_theme=${name}; path=${data.path}; max-age=${life}; samesite=strict`;
      label();
    });
  }

  // -- a double click is one click: the second one would be answered with a conflict
  document.addEventListener("click", (event) => {
    if (event.detail > 1 && event.target.closest('form[method="post"] button')) event.preventDefault();
  });

  // -- polling
  let paused = false;
  let over = false;
  let failures = 0;
  let next = 0;
  let timer = 0;
  let busy = false;
  let wait = Number(data.poll);
  let shown = "";
  const show = (text, link) => {
    if (text === shown) return;
    shown = text;
    bar.hidden = !text;
    bar.textContent = text;
    if (link) {
      const a = document.createElement("a");
      a.href = "";
      a.textContent = texts.reload;
      bar.append(" ", a);
    }
  };
  const stop = (text) => {
    over = true;
    failures = 0;
    show(text, true);
    pause.hidden = true;
  };
  let html = (text) => text;
  if (window.trustedTypes) {
    try {
      html = ((policy) => (text) => policy.createHTML(text))(
        // What it is given comes from the server the page came from, escaped there.
        window.trustedTypes.createPolicy("flask-msm", { createHTML: (text) => text }),
      );
    } catch {
      // The application's own policy does not allow it: the page then reloads by hand.
    }
  }
  const path = (element, top) => {
    const steps = [];
    for (let e = element; e !== top; e = e.parentNode) steps.unshift([...e.parentNode.children].indexOf(e));
    return steps;
  };
  const find = (steps, top) => steps.reduce((e, n) => e && e.children[n], top);
  const swap = (name, section) => {
    const place = document.querySelector(`[data-live="${CSS.escape(name)}"]`);
    if (!place) return;
    const active = place.contains(document.activeElement) ? document.activeElement : null;
    if (active && active.matches("input, select, textarea")) return;
    const chosen = getSelection();
    if (chosen && !chosen.isCollapsed && place.contains(chosen.anchorNode)) return;
    const title = place.querySelector("h1")?.textContent;
    const same = active && (active.getAttribute("href") ? `[href="${CSS.escape(active.getAttribute("href"))}"]` : "");
    const steps = active && path(active, place);
    const parsed = new DOMParser().parseFromString(html(section.html), "text/html");
    place.replaceChildren(...parsed.body.childNodes);
    place.dataset.rev = section.rev;
    if (active) ((same && place.querySelector(same)) || find(steps, place) || place.closest("main") || place).focus({ preventScroll: true });
    document.dispatchEvent(new Event("msm:swapped"));
    const after = place.querySelector("h1")?.textContent;
    if (title && after && title !== after) say.textContent = after;
  };
  const poll = async () => {
    if (busy || paused || over || document.hidden) return;
    busy = true;
    const have = [...document.querySelectorAll("[data-live]")].map((e) => `${e.dataset.live}:${e.dataset.rev}`);
    const url = new URL(location.href);
    url.hash = "";
    url.searchParams.set("live", have.join(","));
    const abort = new AbortController();
    const limit = setTimeout(() => abort.abort(), 8000);
    try {
      const answer = await fetch(url, { signal: abort.signal, headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (answer.redirected || answer.status === 401 || answer.status === 403) return stop(texts.out);
      if (!answer.ok) throw new Error(answer.status);
      const found = await answer.json();
      if (String(found.schema) !== data.schema || found.build !== data.build) return stop(texts.skew);
      at = found.at;
      skew = at - Date.now() / 1000;
      wait = found.poll_after_ms;
      failures = 0;
      show("");
      if (document.title !== found.title) document.title = found.title;
      for (const [name, section] of Object.entries(found.sections)) swap(name, section);
    } catch {
      failures += 1;
    } finally {
      clearTimeout(limit);
      busy = false;
      later();
      tick();
    }
  };
  const later = () => {
    clearTimeout(timer);
    if (paused || over || document.hidden) return;
    // Twice as long after each failure, at most 30 s, and not all browsers at once.
    const delay = failures ? Math.min(30000, wait * 2 ** (failures - 1)) * (0.8 + Math.random() * 0.4) : wait;
    next = now() + delay / 1000;
    timer = setTimeout(poll, delay);
  };
  const KEY = "msm-admin-paused";
  const remember = (value) => {
    try {
      if (value === undefined) return sessionStorage.getItem(KEY) === "1";
      sessionStorage.setItem(KEY, value ? "1" : "0");
    } catch {
      // Storage is forbidden: pausing holds for this page.
    }
    return false;
  };
  if (live && wait) {
    const label = () => {
      pause.textContent = paused ? texts.resume : texts.pause;
    };
    paused = remember();
    pause.hidden = false;
    label();
    pause.addEventListener("click", () => {
      paused = !paused;
      remember(paused);
      label();
      if (paused) clearTimeout(timer);
      else poll();
      tick();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(timer);
      else poll();
    });
    later();
  }
  const second = () => {
    if (!document.hidden) tick();
    setTimeout(second, 1000);
  };
  second();
})();
