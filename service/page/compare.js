// Two pictures, one over the other, and a divider between them; if they differ in size, only the new one is shown.

export class Compare {
  #figure;
  #before;
  #after;
  #divider;
  #loading = 0;

  constructor(figure) {
    this.#figure = figure;
    [this.#before, this.#after] = figure.querySelectorAll("img");
    this.#divider = figure.querySelector("input");
    this.#divider.addEventListener("input", () => this.#divide());
    this.#divide();
  }

  /** Shows the original alone. */
  async original(blob) {
    this.clear();
    await show(this.#before, blob).catch(() => null);
    this.#arrange();
  }

  /** Shows the translation over the original, or `alone`, as a contact sheet. */
  async translated(blob, { alone = false } = {}) {
    const turn = ++this.#loading;
    const fresh = new Image();
    await show(fresh, blob);
    if (turn !== this.#loading) return release(fresh); // a later picture came while this one was decoded
    release(this.#after);
    this.#after.src = fresh.src;
    await this.#after.decode();
    this.#after.hidden = false;
    this.#arrange(alone);
  }

  /** Removes the translation; the original stays. */
  clear() {
    this.#loading++;
    release(this.#after);
    this.#after.removeAttribute("src");
    this.#after.hidden = true;
    this.#arrange();
  }

  #arrange(alone = false) {
    const over = !this.#after.hidden;
    const same = over && !alone && shape(this.#before) === shape(this.#after);
    const shown = over && !same ? this.#after : this.#before;
    this.#divider.hidden = !same;
    this.#before.hidden = over && !same;
    this.#figure.dataset.view = over ? (same ? "both" : "after") : "before";
    this.#figure.style.setProperty("--ratio", String(shown.naturalWidth / shown.naturalHeight || 1));
    this.#figure.style.setProperty("--natural", `${shown.naturalWidth || 256}px`);
    this.#figure.hidden = !this.#before.hasAttribute("src");
  }

  #divide() {
    this.#figure.style.setProperty("--divide", `${this.#divider.value}%`);
    this.#divider.setAttribute("aria-valuetext", `${this.#divider.value} % before`);
  }
}

async function show(image, blob) {
  release(image);
  image.src = URL.createObjectURL(blob);
  await image.decode();
}

function release(image) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
}

function shape(image) {
  return `${image.naturalWidth}x${image.naturalHeight}`;
}
