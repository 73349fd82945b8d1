// @ts-check
/**
 * Colour for code, in four kinds: comments, strings, numbers and keywords. One pattern a family of languages, no
 * grammar: it reads well, stays small and is linear. Unknown languages stay plain. Pure.
 */

/** @typedef {{ kind: '' | 'comment' | 'string' | 'number' | 'keyword', text: string }} Token */

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

/** The text in pieces, or null if the language is not known. @param {string} text @param {string} language @returns {Token[] | null} */
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
