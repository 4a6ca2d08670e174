/* The pages work without this. It refreshes a live run, opens payloads on demand, copies, and names the element in focus. */
"use strict";
(() => {
  const EVERY = 2000; // milliseconds between two refreshes of an active run
  const SLOWEST = 30000; // ... while the server does not answer

  // --- copy ---------------------------------------------------------------------------------------------------------

  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(text);
    }
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "wf-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".wf-copy");
    if (!button) return;
    const before = button.textContent;
    await copy(button.dataset.copy);
    button.textContent = "✓";
    window.setTimeout(() => { button.textContent = before; }, 1200);
  });

  // --- payloads on demand -------------------------------------------------------------------------------------------

  document.addEventListener("toggle", async (event) => {
    const details = event.target;
    if (!details.open || !details.classList.contains("wf-load") || details.dataset.loaded) return;
    details.dataset.loaded = "yes";
    try {
      const answer = await fetch(details.dataset.src, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      details.querySelector(".wf-loaded").innerHTML = await answer.text();
    } catch {
      delete details.dataset.loaded; // the link inside still works; opening it again retries
    }
  }, true);

  // --- what has the focus -------------------------------------------------------------------------------------------

  let tip = null;
  const hideTip = () => { if (tip) { tip.remove(); tip = null; } };
  document.addEventListener("focusin", (event) => {
    hideTip();
    const summary = event.target.closest(".wf-row summary");
    if (!summary || !summary.matches(":focus-visible") || summary.parentElement.open) return;
    const titles = Array.from(summary.querySelectorAll("svg title"), (title) => title.textContent).slice(0, 8);
    if (!titles.length) return;
    tip = document.createElement("div");
    tip.className = "wf-tip";
    tip.setAttribute("role", "tooltip");
    for (const text of titles) {
      const line = document.createElement("div");
      line.textContent = text;
      tip.append(line);
    }
    summary.parentElement.after(tip);
  });
  document.addEventListener("focusout", hideTip);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

  // --- live refresh -------------------------------------------------------------------------------------------------

  const live = document.getElementById("wf-live");
  if (!live) return;
  const said = document.getElementById("wf-said");
  const state = () => document.getElementById("wf-state");
  const sections = (root) => Array.from(root.children, (child) => child.outerHTML);
  let shown = sections(state()); // as the server wrote them, without what has been opened since
  let wait = EVERY;

  const openOnes = (node) => Array.from(node.querySelectorAll("details[open]"), (one) => one.id);
  const replace = (old, fresh) => {
    const opened = openOnes(old);
    const loaded = new Map(Array.from(old.querySelectorAll(".wf-load[data-loaded]"), (one) => [one.id, one]));
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const place = focus ? Array.from(old.querySelectorAll("a, button, summary, [tabindex]")).indexOf(focus) : -1;
    const closed = Array.from(old.querySelectorAll("details:not([open])"), (one) => one.id);
    old.replaceWith(fresh);
    for (const one of fresh.querySelectorAll("details")) {
      if (loaded.has(one.id)) one.replaceWith(loaded.get(one.id));
      else if (opened.includes(one.id)) one.open = true;
      else if (closed.includes(one.id)) one.open = false;
    }
    const next = fresh.querySelectorAll("a, button, summary, [tabindex]")[place];
    if (next) next.focus({ preventScroll: true });
  };

  const update = (html) => {
    const page = document.createElement("template");
    page.innerHTML = html;
    const fresh = page.content.getElementById("wf-state");
    if (!fresh) throw new Error("not the page of a run"); // logged out, most likely
    const before = state();
    const now = sections(fresh);
    if (before.dataset.said !== fresh.dataset.said) said.textContent = fresh.dataset.said;
    if (before.children.length === fresh.children.length) { // only what has changed
      const places = Array.from(before.children);
      Array.from(fresh.children).forEach((child, index) => {
        if (now[index] !== shown[index]) replace(places[index], child);
      });
      Object.assign(before.dataset, { ...fresh.dataset });
    } else {
      replace(before, fresh);
    }
    shown = now;
  };

  const look = async () => {
    if (state().dataset.active !== "true") return;
    if (!document.hidden) {
      try {
        const url = new URL(live.dataset.url, window.location.href);
        url.searchParams.set("version", state().dataset.version);
        const answer = await fetch(url, { credentials: "same-origin", redirect: "error" });
        if (answer.status === 200) update(await answer.text());
        else if (answer.status !== 204) throw new Error(String(answer.status));
        live.classList.remove("wf-offline");
        wait = EVERY;
      } catch {
        live.classList.add("wf-offline");
        wait = Math.min(wait * 2, SLOWEST);
      }
    }
    window.setTimeout(look, wait);
  };
  window.setTimeout(look, EVERY);
})();
