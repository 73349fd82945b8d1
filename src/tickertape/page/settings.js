// @ts-check
/** What this browser's reader has chosen. Kept in one value; theme.js reads it before the first paint. */

/** @import { Transport } from './transport.js' */
/**
 * @typedef {object} Choices
 * @property {'system' | 'light' | 'dark'} theme
 * @property {'on' | 'off'} typing
 * @property {Transport} transport
 * @property {string} model the last one picked
 * @property {'' | 'open' | 'closed'} chats the list of chats; "" as wide as the window allows
 */

const KEY = 'tickertape/1/settings';

class Settings extends EventTarget {
  /** @type {Choices} */
  #choices = { theme: 'system', typing: 'on', transport: 'fetch', model: '', chats: '' };

  constructor() {
    super();
    try {
      Object.assign(this.#choices, JSON.parse(localStorage.getItem(KEY) ?? '{}'));
    } catch {
      // No storage: the defaults hold for this visit.
    }
  }

  /** @template {keyof Choices} Name @param {Name} name @returns {Choices[Name]} */
  get(name) {
    return this.#choices[name];
  }

  /** @template {keyof Choices} Name @param {Name} name @param {Choices[Name]} value */
  set(name, value) {
    if (this.#choices[name] === value) return;
    this.#choices[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#choices));
    } catch {
      // It holds for this visit.
    }
    this.dispatchEvent(new Event(name));
  }
}

export const settings = new Settings();

/**
 * Keep the radio buttons of a setting in step with it, wherever on the page they are.
 * @param {'theme' | 'typing' | 'transport'} name
 */
export function bind(name) {
  const radios = () =>
    /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(`[data-setting=${name}] input`));
  const show = () => radios().forEach((radio) => (radio.checked = radio.value === settings.get(name)));
  for (const radio of radios()) {
    radio.addEventListener('change', () => settings.set(name, /** @type {any} */ (radio.value)));
  }
  settings.addEventListener(name, show);
  show();
}
