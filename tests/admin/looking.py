"""What an accessibility checker would say about a page, and where it is too wide: asked in the browser."""

from __future__ import annotations

from typing import Any

_CONTRAST = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, below) => {
    const a = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
  };
  const backdrop = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length && (colour.length < 4 || colour[3] > 0)) {
        layers.push(colour);
        if (colour.length < 4 || colour[3] === 1) break;
      }
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("#content"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim().slice(0, 40);
    if (!text || !node.checkVisibility() || node.closest(".wf-hidden, option")) continue;
    if (!node.closest(".wf, #result_list, .wf-pages, .wf-about")) continue;  // the rest is Django's own
    const style = getComputedStyle(node);
    const ink = parse(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const below = backdrop(node);
    const [high, low] = [luminance(over(ink, below)), luminance(below)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      found.push(`${ratio.toFixed(2)} "${text}" in .${node.getAttribute("class")}`);
    }
  }
  return found;
}
"""

_NAMES = """
() => {
  const found = [];
  const named = (node) => node.getAttribute("aria-label") || node.getAttribute("title") || node.textContent.trim()
    || node.getAttribute("aria-labelledby") || (node.querySelector("img[alt], title") ? "yes" : "");
  const content = document.querySelector("#content");
  for (const node of content.querySelectorAll("a, button, summary, svg[role=img]")) {
    if (node.checkVisibility() && !named(node)) found.push(`no name: ${node.outerHTML.slice(0, 120)}`);
  }
  for (const node of content.querySelectorAll("input:not([type=hidden]):not([type=submit]), select, textarea")) {
    if (!node.labels.length && !node.getAttribute("aria-label") && !node.closest("label")) {
      found.push(`no label: ${node.outerHTML.slice(0, 120)}`);
    }
  }
  const ids = Array.from(document.querySelectorAll("[id]"), (node) => node.id);
  for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) !== place))) found.push(`twice: #${id}`);
  for (const node of content.querySelectorAll("svg:not([role]):not([aria-hidden])")) {
    if (!node.closest("[aria-hidden=true]")) found.push(`svg without a role: ${node.outerHTML.slice(0, 80)}`);
  }
  const levels = Array.from(content.querySelectorAll("h1, h2, h3"), (node) => Number(node.tagName[1]));
  levels.forEach((level, place) => {
    if (place && level > levels[place - 1] + 1) found.push(`h${level} after h${levels[place - 1]}`);
  });
  for (const node of content.querySelectorAll(".wf th:not([scope])")) found.push(`no scope: ${node.textContent}`);
  return found;
}
"""


def complaints(page: Any) -> list[str]:
    """Text with too little contrast (WCAG AA), controls without a name, ids that occur twice, headings that skip."""
    return [*page.evaluate(_CONTRAST), *page.evaluate(_NAMES)]


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
