// Shows openapi.json as a page: every call with its parameters and answers, and the table of errors that `type` links to.

start();

async function start() {
  const host = document.getElementById("description");
  const response = await fetch("openapi.json").catch(() => null);
  if (!response?.ok) {
    host.textContent = "The description could not be loaded; is the service running?";
    return;
  }
  const api = await response.json();
  const calls = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, call]) => ({ path, method: method.toUpperCase(), ...call })),
  );
  host.replaceChildren(lead(api), ...calls.map(section), errors(api));
  document.getElementById("contents").replaceChildren(...calls.map(entry), link("#errors", "Errors"));
  // The browser looked for the fragment before its target was on the page.
  if (location.hash) location.replace(location.hash);
}

function lead(api) {
  return element("div", { className: "lead" }, ...api.info.description.split("\n\n").map((text) => element("p", {}, ...prose(text))));
}

function entry(call) {
  return link(`#${call.operationId}`, `${call.method} ${call.path}`);
}

function section(call) {
  const parts = [
    element("h2", {}, element("span", { className: "method" }, call.method), call.path),
    ...(call.description ?? "").split("\n\n").map((text) => element("p", {}, ...prose(text))),
  ];
  if (call.parameters) parts.push(element("h3", {}, "Parameters"), parameters(call.parameters));
  if (call.requestBody) parts.push(element("h3", {}, "Body"), element("p", {}, ...prose(`${call.requestBody.description} ${mediaTypes(call.requestBody)}`)));
  if (call.path === "/translate") parts.push(element("h3", {}, "For example"), element("pre", {}, element("code", {}, example())));
  parts.push(element("h3", {}, "Answers"), answers(call.responses));
  return element("section", { id: call.operationId }, ...parts);
}

function parameters(list) {
  const rows = list.map((each) => [
    code(each.name),
    each.required ? "required" : "default" in each.schema && each.schema.default !== null ? code(String(each.schema.default)) : "",
    prose(allowed(each.schema)),
    prose(each.description ?? each.schema.description ?? ""),
  ]);
  return table(["name", "default", "allowed", "meaning"], rows);
}

function allowed(schema) {
  const options = (schema.anyOf ?? [schema]).filter((option) => option.type !== "null");
  return options.map((option) => {
    if (option.enum) return option.enum.map((value) => `\`${value}\``).join(", ");
    if ("minimum" in option || "maximum" in option) return `${option.minimum ?? "…"} to ${option.maximum ?? "…"}`;
    return option.type === "array" ? "repeatable" : option.type;
  }).join(" or ");
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, response]) => [
    code(status),
    prose(response.description),
    prose(mediaTypes(response)),
  ]);
  return table(["status", "meaning", "type"], rows);
}

function errors(api) {
  const rows = api.components.schemas.Problem["x-codes"].map((kind) =>
    Object.assign([code(kind.code), String(kind.status), kind.title], { id: kind.code }),
  );
  const text = "Every error is a JSON object (RFC 9457). Programs rely on `code`; `detail` says what is wrong, and what helps.";
  return element("section", { id: "errors" }, element("h2", {}, "Errors"), element("p", {}, ...prose(text)), table(["code", "status", "meaning"], rows));
}

function mediaTypes(holder) {
  return Object.keys(holder.content ?? {}).map((name) => `\`${name}\``).join(", ");
}

function example() {
  return `curl --fail-with-body -F image=@portrait.jpg '${new URL("translate?domains=blond,smiling", document.baseURI).href}' -o blond.jpg`;
}

function table(head, rows) {
  const lines = rows.map((cells) => element("tr", { id: cells.id ?? "" }, ...cells.map((cell) => element("td", {}, ...[cell].flat()))));
  const top = element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)));
  return element("div", { className: "scroll" }, element("table", {}, element("thead", {}, top), element("tbody", {}, ...lines)));
}

/** Text with `code` in it, as nodes. */
function prose(text) {
  return text.split(/`([^`]*)`/).map((part, index) => (index % 2 ? code(part) : part));
}

function code(text) {
  return element("code", {}, text);
}

function link(href, text) {
  return element("a", { href }, text);
}

function element(tag, properties, ...content) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...content);
  if (!node.id) node.removeAttribute("id");
  return node;
}
