// @ts-check
/**
 * A block of code: grows line by line, can be copied and wrapped, and is coloured once it is whole. Colour is in four
 * kinds: comments, strings, numbers and keywords. One pattern a family of languages, no grammar: it reads well, stays
 * small and is linear. Unknown languages stay plain.
 */
import { copy, h } from './dom.js';

/** @import { Block } from './markdown.js' */
/** @typedef {{ kind: '' | 'comment' | 'string' | 'number' | 'keyword', text: string }} Token */

/** Characters: beyond this, colour would cost more than it gives. */
const LONGEST = 100_000;

const KEYWORDS = {
  c: `abstract as async await auto bool boolean break byte case catch char chan class const constexpr continue crate
    debugger default defer delete do double else enum export extends extern false final finally float fn for from func
    function go goto if impl implements import in inline instanceof int interface let long loop map match mod move mut
    namespace new nil null nullptr number object of operator override package private protected pub public range ref
    return select self short signed sizeof static str string struct super switch template this throw throws trait true
    try type typedef typename typeof undefined union unsafe unsigned use using val var virtual void volatile when where
    while with yield`,
  python: `and as assert async await break case class continue def del elif else except False finally for from global if
    import in is lambda match None nonlocal not or pass raise return self True try while with yield`,
  shell: `case do done echo elif else esac exit export fi for function if in local return set then until while`,
  sql: `all alter and as asc between by case check column constraint create cross default delete desc distinct drop else
    end except exists foreign from full group having in index inner insert into is join key left like limit not null
    offset on or order outer primary references returning right select set table then union unique update using values
    view when where with`,
  data: 'true false null yes no on off',
};

const C = /(\/\/[^\n]*|\/\*[^]*?(?:\*\/|$))|("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`(?:[^`\\]|\\[^])*`?)/;
const HASH = /(#[^\n]*)|("""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)/;
const SQL = /(--[^\n]*|\/\*[^]*?(?:\*\/|$))|('(?:[^']|'')*'?|"[^"\n]*"?)/;
const MARKUP = /(<!--[^]*?(?:-->|$))|("[^"\n]*"|'[^'\n]*')/;
const REST = /|\b(\d[\w.]*)\b|([A-Za-z_$][\w$]*)/;

/** @type {[RegExp, RegExp, keyof KEYWORDS][]} */
const FAMILIES = [
  [/^(py|python|python3|pycon|gd|starlark)$/, HASH, 'python'],
  [/^(sh|bash|zsh|shell|console|fish|dockerfile|makefile|make)$/, HASH, 'shell'],
  [/^(ya?ml|toml|ini|conf|properties|r|rb|ruby|perl|pl|elixir|nix)$/, HASH, 'data'],
  [/^(\w*sql)$/, SQL, 'sql'],
  [/^(html?|xml|svg|vue|svelte)$/, MARKUP, 'data'],
  [/^(jsonc?|json5|css|scss|less)$/, C, 'data'],
  [
    /^([cm]?[jt]sx?|javascript|typescript|c|h|cc|cpp|c\+\+|cs|csharp|java|kotlin|kt|go|golang|rust|rs|swift|scala|php|dart|zig)$/,
    C,
    'c',
  ],
];

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
  get caret() {
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

/**
 * The text in pieces, or null if the language is not known.
 * @param {string} text @param {string} language @returns {Token[] | null}
 */
export function tokens(text, language) {
  const family = FAMILIES.find(([names]) => names.test(language.toLowerCase()));
  if (!family) return null;
  const [, pattern, words] = family;
  const keywords = new Set(KEYWORDS[words].split(/\s+/));
  const scan = new RegExp(pattern.source + REST.source, 'g');
  /** @type {Token[]} */ const found = [];
  let at = 0;
  for (const match of text.matchAll(scan)) {
    const [all, comment, string, number, word] = match;
    const keyword = word && keywords.has(words === 'sql' ? word.toLowerCase() : word);
    const kind = comment ? 'comment' : string ? 'string' : number ? 'number' : keyword ? 'keyword' : '';
    if (!kind) continue;
    if (match.index > at) found.push({ kind: '', text: text.slice(at, match.index) });
    found.push({ kind, text: all });
    at = match.index + all.length;
  }
  if (at < text.length) found.push({ kind: '', text: text.slice(at) });
  return found;
}
