// @ts-check
/** Where questions are written: grows with its text, keeps drafts, edits the last question. */

/**
 * @typedef {object} ComposerHooks
 * @property {(text: string, editing: string | null) => void} send
 * @property {() => void} stop
 * @property {() => string | null} editLast puts the last question into the field and returns its id
 * @property {(text: string) => void} draft
 */

export class Composer {
  /** @type {string | null} the question that is being edited */ #editing = null;
  #busy = false;

  /**
   * @param {HTMLFormElement} form
   * @param {ComposerHooks} hooks
   */
  constructor(form, hooks) {
    this.form = form;
    this.hooks = hooks;
    this.field = /** @type {HTMLTextAreaElement} */ (form.querySelector('textarea'));
    this.button = /** @type {HTMLButtonElement} */ (form.querySelector('#send'));
    this.banner = /** @type {HTMLElement} */ (form.querySelector('#editing'));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#busy) hooks.stop();
      else this.#send();
    });
    this.field.addEventListener('input', () => this.#changed());
    this.field.addEventListener('keydown', (event) => this.#key(event));
    this.banner.querySelector('button')?.addEventListener('click', () => this.edit(null, ''));
  }

  /** An answer is running: the button stops it. @param {boolean} busy */
  set busy(busy) {
    this.#busy = busy;
    this.button.classList.toggle('stop', busy);
    this.button.setAttribute('aria-label', busy ? 'Stop' : 'Send');
    this.button.title = busy ? 'Stop (Esc)' : 'Send (Enter)';
    this.#enable();
  }

  get text() {
    return this.field.value;
  }

  /** @param {string} text */
  set text(text) {
    this.field.value = text;
    this.#grow();
    this.#enable();
  }

  /** Edit a question, or stop editing. @param {string | null} id @param {string} text */
  edit(id, text) {
    this.#editing = id;
    this.banner.hidden = id === null;
    this.text = text;
    this.focus();
    this.field.setSelectionRange(text.length, text.length);
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  #send() {
    const text = this.text.trim();
    if (!text) return;
    const editing = this.#editing;
    this.edit(null, '');
    this.hooks.draft('');
    this.hooks.send(text, editing);
  }

  #changed() {
    this.#grow();
    this.#enable();
    if (this.#editing === null) this.hooks.draft(this.text);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { key, shiftKey, isComposing } = event;
    if (isComposing || event.keyCode === 229) return; // the input method takes this Enter
    // On a phone Enter is the only way to a new line.
    const phone = matchMedia('(hover: none) and (pointer: coarse)').matches;
    if (key === 'Enter' && !shiftKey && !phone) {
      event.preventDefault();
      if (!this.#busy) this.#send();
    } else if (key === 'ArrowUp' && !this.text && !this.#busy) {
      if (this.hooks.editLast() !== null) event.preventDefault();
    } else if (key === 'Escape' && this.#editing !== null && !this.#busy) {
      event.stopPropagation();
      this.edit(null, '');
    }
  }

  #enable() {
    this.button.disabled = !this.#busy && !this.text.trim();
  }

  /** As high as its text, up to a third of the window (style.css). */
  #grow() {
    if (CSS.supports('field-sizing', 'content')) return;
    this.field.style.height = 'auto';
    this.field.style.height = `${this.field.scrollHeight}px`;
  }
}
