// Calls the service, with the key if the user gave one; every failure becomes a Problem.

const KEY = "recast-key";

export class Problem extends Error {
  constructor({ title, detail, code, status, request_id: requestId, nearest }) {
    super(detail || title);
    Object.assign(this, { title, detail, code, status, requestId, nearest });
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

/** The models that translate pictures, in the order of rank. */
export async function models() {
  const found = await (await call("models")).json();
  return found.models.filter((model) => model.task === "translate");
}

/** A picture by its path, as a Blob. */
export async function picture(path) {
  return (await call(path)).blob();
}

/** The path of POST /translate for these options, without those that have their default. */
export function translatePath({ domains, model, strength, region, format, size }) {
  const query = new URLSearchParams({ domains: domains.join(",") });
  if (model) query.set("model", model);
  if (strength !== 1) query.set("strength", String(strength));
  if (region !== "auto") query.set("region", region);
  if (format) query.set("format", format);
  if (size !== "original") query.set("size", size);
  return `translate?${query.toString().replaceAll("%2C", ",").replaceAll("%40", "@").replaceAll("*", "%2A")}`;
}

/** Translates a Blob; resolves to the picture and the facts of the headers. */
export async function translate(blob, options, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await call(translatePath(options), { method: "POST", body: blob, headers, signal });
  return {
    blob: await response.blob(),
    model: response.headers.get("Recast-Model") ?? "",
    domains: pairs(response.headers.get("Recast-Domains"), /([^=]+)=(.+)/),
    timings: pairs(response.headers.get("Server-Timing"), /([^;]+);dur=(.+)/),
  };
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The service does not answer", detail: "Check that it is running, and that the network works.", code: "no-answer", status: 0 });
  }
  if (!response.ok) throw new Problem(await explanation(response));
  return response;
}

async function explanation(response) {
  const fallback = { title: `The service answered ${response.status}`, detail: response.statusText, code: "no-problem", status: response.status };
  return response.json().catch(() => fallback);
}

/** "a=1, b=0" as [["a", 1], ["b", 0]]. */
function pairs(header, form) {
  const found = (header ?? "").split(",").map((item) => item.trim().match(form));
  return found.filter(Boolean).map(([, name, value]) => [name, Number(value)]);
}
