// @ts-check
/** The address of what is shown: `/` a new chat, `/c/{id}` one that there is, `/c/{id}#{id}` a message in it. */

import { BASE } from './api.js';

/** Told when the address has become another. @type {() => void} */
let routed = () => {};

/** The chat that the address names; "" for a new one. */
export const named = () => /^\/c\/([0-9a-f-]{24,36})$/.exec(location.pathname.slice(BASE.length))?.[1] ?? '';

/** The message that the address names; "" for none. */
export const pointed = () => location.hash.slice(1);

/**
 * Show another address without going there.
 * @param {string} id @param {boolean} [instead] of the one before, in the history
 */
export function rename(id, instead = false) {
  const path = id ? `${BASE}/c/${id}` : `${BASE}/`;
  if (location.pathname + location.hash !== path) history[instead ? 'replaceState' : 'pushState'](null, '', path);
}

/** Go to a chat, to a message in it as `{id}#{id}`, or with "" to a new one. @param {string} id */
export function go(id) {
  rename(id);
  routed();
}

/** @param {() => void} listener */
export function onroute(listener) {
  routed = listener;
  addEventListener('popstate', listener);
  document.addEventListener('click', (event) => {
    const { target, button, metaKey, ctrlKey, shiftKey, altKey } = event;
    const link = target instanceof Element ? target.closest(`a[href="${BASE}/"], a[href^="${BASE}/c/"]`) : null;
    if (!link || button || metaKey || ctrlKey || shiftKey || altKey) return; // a new tab is the browser's affair
    event.preventDefault();
    go(link.getAttribute('href')?.slice(BASE.length + 3) ?? '');
  });
}
