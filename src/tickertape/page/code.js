// @ts-check
/** A block of code: grows line by line, can be copied and wrapped, and is coloured once it is whole. */
import { copy, h } from './dom.js';
import { tokens } from './highlight.js';

/** @import { Block } from './blocks.js' */

/** Characters: beyond this, colour would cost more than it gives. */
const LONGEST = 100_000;

export class CodeView {
  type = /** @type {const} */ ('code');
  #length = 0;
  #text = document.createTextNode('');
  #code = h('code', { translate: false }, this.#text);
  #pre = h('pre', { tabIndex: 0, dir: 'ltr' }, this.#code);
  #label = h('figcaption', null, h('span', { className: 'language' }));
  #coloured = false;

  constructor() {
    const wrap = h('button', { type: 'button', 'aria-pressed': 'false' }, h('span', null, 'Wrap'));
    const take = h(
      'button',
      { type: 'button', onclick: () => copy(take, this.#code.textContent ?? '') },
      h('span', null, 'Copy'),
    );
    wrap.onclick = () => wrap.setAttribute('aria-pressed', String(this.#pre.classList.toggle('wrap')));
    this.#label.append(wrap, take);
    this.element = h('figure', { className: 'code' }, this.#label, this.#pre);
  }

  /** @returns {Element} */
  get tip() {
    return this.#code;
  }

  /** @param {Block} node */
  update({ text, info, done }) {
    const language = this.#label.firstElementChild;
    const name = info.split(/[\s{,]/, 1)[0];
    if (language && language.textContent !== name) language.textContent = name;
    // The last line break belongs to the fence.
    const shown = text.endsWith('\n') ? text.length - 1 : text.length;
    if (shown > this.#length) this.#text.appendData(text.slice(this.#length, shown));
    else if (shown < this.#length) this.#text.data = text.slice(0, shown);
    this.#length = shown;
    if (done && !this.#coloured) this.#colourLater(name);
  }

  /** @param {string} language */
  #colourLater(language) {
    this.#coloured = true;
    if (!this.#length || this.#length > LONGEST) return;
    const idle = globalThis.requestIdleCallback ?? ((/** @type {() => void} */ work) => setTimeout(work, 50));
    idle(() => {
      if (!this.#selected()) this.#colour(language);
    });
  }

  /** Someone is selecting in it: leave the text nodes alone. */
  #selected() {
    const selection = getSelection();
    return selection?.type === 'Range' && selection.containsNode(this.#code, true);
  }

  /** @param {string} language */
  #colour(language) {
    const pieces = tokens(this.#text.data, language);
    if (!pieces) return;
    const nodes = pieces.map(({ kind, text }) => (kind ? h('span', { className: `t-${kind}` }, text) : text));
    this.#code.replaceChildren(...nodes);
  }
}
