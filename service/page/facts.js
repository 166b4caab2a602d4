// What the answer's headers say: where the time went, which model it was, and the labels that were really applied.

import { pretty } from "./domains.js";

const KNOWN = ["decode", "queue", "infer", "compose", "encode"];

/** Shows them in `host`, replacing what is there. */
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
  const made = document.createElement(tag);
  made.className = name;
  made.append(...[content].flat());
  return made;
}
