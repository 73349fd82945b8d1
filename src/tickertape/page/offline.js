// @ts-check
/** Registers the worker that keeps the page for reading without a server, and tells it what is loaded already. */

import { BASE } from './base.js';

const WORKER = new URL('./worker.js', import.meta.url).href;

/** Trusted Types: the one address that a script may be made of. @returns {any} */
function address() {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  if (!types) return WORKER;
  return types.createPolicy('tickertape', { createScriptURL: () => WORKER }).createScriptURL('');
}

/** Once the page stands. Without https, other than on this machine, browsers offer no worker. */
export async function keepForReading() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register(address(), { scope: `${BASE}/` });
    const { active } = await navigator.serviceWorker.ready;
    const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
    active?.postMessage([`${BASE}/`, ...loaded.filter((name) => name.includes('/assets/'))]);
  } catch {
    // A browser that forbids it, or a private window: the page works as it did.
  }
}
