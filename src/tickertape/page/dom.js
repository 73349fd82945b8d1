// @ts-check
/** Elements from calls, never from strings of HTML. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * Make an element. `props` are its properties (`className`, `onclick`, …); names with a dash, `role`, `for` and the
 * like become attributes, and a value of false or null leaves them out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, unknown> | null} [props] @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name in element && !name.includes('-')) Reflect.set(element, name, value);
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** One of the icons of index.html, as decoration. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/**
 * A button: an icon with words, or an icon alone with its words as an accessible name.
 * @param {string} label @param {string} name of the icon, or "" @param {() => void} onclick @param {boolean} [quiet]
 */
export function button(label, name, onclick, quiet = false) {
  const title = quiet ? label : '';
  return h(
    'button',
    { type: 'button', className: quiet ? 'tool' : 'action', onclick, title, 'aria-label': quiet && label },
    name && icon(name),
    !quiet && h('span', null, label),
  );
}

/** An element of index.html. @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no element with the id ${id}.`);
  return element;
}

/** Put text on the clipboard and say on the button that it is there. @param {HTMLElement} from @param {string} text */
export async function copy(from, text) {
  const done =
    (await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false,
    )) ?? copyBySelection(text);
  const label = from.querySelector('span');
  const before = label?.textContent ?? '';
  from.classList.toggle('done', done);
  if (label) label.textContent = done ? 'Copied' : 'The browser refused';
  setTimeout(() => {
    from.classList.remove('done');
    if (label) label.textContent = before;
  }, 1600);
}

/** Over plain http from another machine there is no `navigator.clipboard`. @param {string} text */
function copyBySelection(text) {
  const field = h('textarea', { value: text, className: 'visually-hidden' });
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
}
