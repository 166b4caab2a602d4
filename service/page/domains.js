// The switches of one model: each domain is not named, asked for ("on") or asked to be absent ("without").

export class Domains {
  #host;
  #model = null;
  #wanted = new Map();
  #buttons = [];

  /** `changed` is called after every click. */
  constructor(host, changed) {
    this.#host = host;
    host.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-domain]");
      if (!button) return;
      this.#press(button.dataset.domain, button.dataset.wish);
      changed();
    });
  }

  /** Shows a model's switches; keeps the wishes that this model knows. */
  show(model) {
    this.#model = model;
    const known = new Map(model.domains.map((domain) => [domain.name, domain]));
    for (const [name, wish] of this.#wanted) {
      if (!known.has(name) || (wish === "without" && !known.get(name).negatable)) this.#wanted.delete(name);
    }
    const alone = model.domains.filter((domain) => !domain.group);
    const groups = Object.entries(model.groups).map(([name, members]) => fieldset(name, members.map((member) => choice(known.get(member)))));
    const single = alone.length ? [fieldset(groups.length ? "more" : "domains", alone.map(choice))] : [];
    this.#host.replaceChildren(...groups, ...single);
    this.#buttons = [...this.#host.querySelectorAll("button[data-domain]")];
    this.#paint();
  }

  /** The terms of the wish, in the model's order: ["blond", "-smiling"]. */
  get terms() {
    const names = this.#model ? this.#model.domains.map((domain) => domain.name) : [];
    return names.filter((name) => this.#wanted.has(name)).map((name) => (this.#wanted.get(name) === "without" ? `-${name}` : name));
  }

  set terms(terms) {
    const known = new Map((this.#model?.domains ?? []).map((domain) => [domain.name, domain]));
    this.#wanted.clear();
    for (const term of terms) {
      const name = term.replace(/^-/, "");
      if (known.has(name)) this.#set(known.get(name), term.startsWith("-") ? "without" : "on");
    }
    this.#paint();
  }

  #press(name, wish) {
    const domain = this.#model.domains.find((each) => each.name === name);
    if (this.#wanted.get(name) === wish) this.#wanted.delete(name);
    else this.#set(domain, wish);
    this.#paint();
  }

  #set(domain, wish) {
    const rivals = domain.group ? this.#model.groups[domain.group] : [];
    for (const rival of rivals) this.#wanted.delete(rival);
    this.#wanted.set(domain.name, wish);
  }

  #paint() {
    for (const button of this.#buttons) {
      button.setAttribute("aria-pressed", String(this.#wanted.get(button.dataset.domain) === button.dataset.wish));
    }
  }
}

/** "brown-hair" for people: "Brown hair". */
export function pretty(name) {
  const words = name.replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function fieldset(name, content) {
  const set = document.createElement("fieldset");
  const legend = document.createElement("legend");
  const list = document.createElement("div");
  legend.textContent = pretty(name);
  list.className = "chips";
  list.append(...content);
  set.append(legend, list);
  return set;
}

function choice(domain) {
  const chip = document.createElement("span");
  chip.className = "chip";
  chip.append(toggle(domain.name, "on", pretty(domain.name)));
  if (domain.negatable && !domain.group) {
    const without = toggle(domain.name, "without", "−");
    without.setAttribute("aria-label", `Without ${pretty(domain.name).toLowerCase()}`);
    without.title = without.getAttribute("aria-label");
    chip.append(without);
  }
  return chip;
}

function toggle(domain, wish, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.domain = domain;
  button.dataset.wish = wish;
  button.textContent = text;
  return button;
}
