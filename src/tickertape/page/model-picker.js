// @ts-check
/** The models that can be asked, and a note on the one that is chosen. */
import { api } from './api.js';
import { byId, h } from './dom.js';
import { settings } from './settings.js';

/** @typedef {{ id: string, owned_by: string, note?: string }} Model */

export class ModelPicker {
  /** @type {Model[]} */ #models = [];
  #select = /** @type {HTMLSelectElement} */ (byId('model'));
  #note = byId('model-note');

  /** @type {(model: string) => void} called when another one was picked by hand */
  onpick = () => {};

  constructor() {
    this.#select.addEventListener('change', () => {
      settings.set('model', this.#select.value);
      this.onpick(this.#select.value);
      this.#show();
    });
    // A server that was down is asked again when there is reason to.
    const again = () => !this.#models.length && this.load();
    addEventListener('online', again);
    addEventListener('focus', again);
  }

  /** What to ask for: "" for the server's default. */
  get picked() {
    return this.#select.value;
  }

  /** @param {string} id */
  pick(id) {
    if (!this.#models.some((model) => model.id === id)) return;
    this.#select.value = id;
    this.#show();
  }

  async load() {
    try {
      this.#models = (await api.models()).data ?? [];
    } catch {
      return; // the page works without; an answer says what is wrong
    }
    const known = this.#models.map(({ id }) => h('option', { value: id }, id));
    this.#select.replaceChildren(...known);
    this.#select.hidden = !known.length;
    this.#select.disabled = known.length < 2;
    this.pick(settings.get('model'));
    this.#show();
  }

  #show() {
    const model = this.#models.find(({ id }) => id === this.picked);
    // The built-in models come with a note; they are small, and a better one can be connected.
    const better = ['Connect a better one: ', h('code', null, 'tickertape serve --upstream URL')];
    this.#note.replaceChildren(
      ...(model ? ['Answers come from ', h('b', null, model.id), `. ${model.note ?? ''}`] : []),
      ...(model?.note ? [h('span', null, ...better)] : []),
    );
  }
}
