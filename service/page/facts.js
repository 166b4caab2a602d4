// The facts of an answer: its model, the labels that were applied, and the time of each step.

import { pretty } from "./domains.js";

const KNOWN = ["decode", "queue", "infer", "compose", "encode"];

/** Shows the facts in `host`, in place of the last ones. */
export function showFacts(host, { model, domains, timings }) {
  const total = timings.reduce((sum, [, ms]) => sum + ms, 0);
  host.replaceChildren(
    element("p", "applied", [element("span", "muted", model), ...labels(domains)]),
    element("p", "timing", [element("span", "muted", `${round(total)} ms`), bar(timings), legend(timings)]),
  );
}

function labels(domains) {
  return domains
    .filter(([, value]) => value > 0)
    .map(([name, value]) => element("span", "label", value === 1 ? pretty(name) : `${pretty(name)} ${value}`));
}

function bar(timings) {
  const parts = timings.map(([name, ms]) => {
    const part = element("span", `part part-${KNOWN.includes(name) ? name : "other"}`, "");
    part.style.flexGrow = String(Math.max(ms, 0.01));
    part.title = `${name} ${round(ms)} ms`;
    return part;
  });
  const whole = element("span", "parts", parts);
  whole.setAttribute("aria-hidden", "true");
  return whole;
}

function legend(timings) {
  return element("span", "muted", timings.map(([name, ms]) => `${name} ${round(ms)}`).join(" · "));
}

function round(ms) {
  return ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
}

function element(tag, name, content) {
  const node = document.createElement(tag);
  node.className = name;
  node.append(...[content].flat());
  return node;
}
