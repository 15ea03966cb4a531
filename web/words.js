// The words of a text, each with the seconds between which it is heard, shown one after another as they are.

export class Words {
  #view; #spans = []; #now = -1;

  /** `seek(seconds)` is called for the word that somebody clicks on. */
  constructor(view, seek) {
    this.#view = view;
    view.addEventListener("click", (event) => {
      const word = this.#spans.find((one) => one.span === event.target);
      if (word) seek(word.start);
    });
  }

  text(text) {
    this.#spans = [];
    this.#now = -1;
    this.#view.textContent = `${text}\n`; // as tall as the field above it
  }

  /** `words`: {word, start, end} in the text's order, as /tts/plan has them. */
  plan(text, words) {
    const parts = [];
    let at = 0;
    this.text(text);
    for (const { word, start, end } of words) {
      const found = text.indexOf(word, at);
      if (found < 0) continue; // said, but not as it is written
      const span = document.createElement("span");
      span.textContent = word;
      parts.push(text.slice(at, found), span);
      this.#spans.push({ span, start, end });
      at = found + word.length;
    }
    this.#view.replaceChildren(...parts, `${text.slice(at)}\n`);
  }

  /** Marks the word that is heard at `seconds`; between two words the first stays marked. */
  show(seconds) {
    let low = 0, high = this.#spans.length; // the last one that has begun
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#spans[middle].start <= seconds) low = middle + 1;
      else high = middle;
    }
    const now = low - 1;
    if (now === this.#now) return;
    this.#spans[this.#now]?.span.classList.remove("now");
    this.#now = now;
    const word = this.#spans[now];
    if (!word) return;
    word.span.classList.add("now");
    const sheet = this.#view.parentElement, top = word.span.offsetTop - sheet.offsetTop;
    if (top < sheet.scrollTop || top + 60 > sheet.scrollTop + sheet.clientHeight) sheet.scrollTop = top - 40;
    this.#view.dispatchEvent(new CustomEvent("word", { detail: { index: now, start: word.start, heard: seconds }, bubbles: true }));
  }
}
