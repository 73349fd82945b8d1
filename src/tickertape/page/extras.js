// @ts-check
/** What an answer holds beside its text: images, sources, sound in words, tools that the provider ran. */
import { h } from './dom.js';

/**
 * @typedef {object} Extras OpenAI's fields, as far as they are there
 * @property {any[]} [images]
 * @property {any[]} [annotations]
 * @property {any[]} [citations]
 * @property {any[]} [server_tools]
 * @property {{ transcript?: string }} [audio]
 */

const LISTS = /** @type {const} */ (['images', 'annotations', 'citations', 'server_tools']);
const SHOWN = /^data:image\/(png|jpeg|gif|webp|avif);base64,/;
const WEB = /^https?:\/\//i;

/** The extras in a delta or a whole message, null if there are none. @param {any} given @returns {Extras | null} */
export function extrasOf(given) {
  /** @type {Extras} */ const found = {};
  for (const name of LISTS) if (Array.isArray(given?.[name]) && given[name].length) found[name] = given[name];
  if (given?.audio) found.audio = { transcript: text(given.audio.transcript) };
  return Object.keys(found).length ? found : null;
}

/** Add what a delta holds. @param {Extras | undefined} so @param {Extras} more @returns {Extras} */
export function addExtras(so, more) {
  const made = { ...so };
  for (const name of LISTS) if (more[name]) made[name] = [...(made[name] ?? []), ...more[name]];
  if (more.audio) made.audio = { transcript: (made.audio?.transcript ?? '') + more.audio.transcript };
  return made;
}

/** Show them, once more if there are more. @param {HTMLElement} element @param {Extras | undefined} extras */
export function showExtras(element, extras) {
  const { images = [], annotations = [], citations = [], server_tools: ran = [], audio } = extras ?? {};
  const count = `${images.length} ${annotations.length} ${citations.length} ${ran.length} ${audio?.transcript}`;
  if (element.dataset.count === count || (!extras && element.hidden)) return;
  element.dataset.count = count;
  element.hidden = !extras;
  const sources = new Map([...annotations, ...citations].map((one) => [JSON.stringify(sourceOf(one)), sourceOf(one)]));
  element.replaceChildren(
    ...ran.map((step) => h('pre', { tabIndex: 0, dir: 'ltr' }, h('code', { translate: false }, JSON.stringify(step, null, 2)))),
    ...images.map((image) => imageView(text(image?.image_url?.url))),
    ...(audio ? [h('p', { dir: 'auto' }, `Sound${audio.transcript ? `: ${audio.transcript}` : ', which this page does not play'}`)] : []),
    ...(sources.size ? [h('ol', null, ...[...sources.values()].map(({ url, words }) => h('li', null, link(url, words))))] : []),
  );
}

/** @param {string} url */
function imageView(url) {
  if (SHOWN.test(url)) return h('img', { src: url, alt: 'Image of the answer' });
  return h('p', null, WEB.test(url) ? link(url, 'Image') : 'An image that this page does not show');
}

/** A link if it leads to a page, else its words. @param {string} url @param {string} words @returns {Node} */
function link(url, words) {
  const shown = words || url || 'a source';
  return WEB.test(url)
    ? h('a', { href: url, target: '_blank', rel: 'noopener noreferrer', title: url }, shown)
    : document.createTextNode(shown);
}

/** @param {any} given */
function sourceOf(given) {
  const source = given?.url_citation ?? given ?? {};
  const words = [source.title, source.document_title, source.cited_text, source.type].map(text).find(Boolean);
  return { url: text(source.url ?? source.uri), words: text(source.title) || (source.url ? '' : (words ?? '')) };
}

/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : '');
