// @ts-check
/**
 * The page's service worker: what was loaded once can be read without a server. Assets never change under their URL,
 * so the copy is used; the page itself is fetched first, and taken from the copy if the server does not answer. API
 * calls are not touched.
 */

const FOLDER = new URL('.', location.href).pathname;
const BASE = new URL('../../', location.href).pathname; // with a slash at its end
const worker = /** @type {any} */ (self);

worker.addEventListener('install', () => worker.skipWaiting());
worker.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(begin()));
worker.addEventListener('fetch', (/** @type {any} */ event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== 'GET' || origin !== location.origin) return;
  if (pathname.startsWith(`${BASE}assets/`)) event.respondWith(asset(event.request));
  else if (mode === 'navigate' && (pathname === BASE || pathname.startsWith(`${BASE}c/`))) event.respondWith(page(event.request));
});
// What was loaded before there was a worker; the browser has it in its own cache.
worker.addEventListener('message', (/** @type {any} */ event) => event.waitUntil(keep(event.data)));

/** Forget the copies of other versions, and nothing that another server below this origin keeps. */
async function begin() {
  for (const name of await caches.keys()) {
    if (name !== FOLDER && name.startsWith(`${BASE}assets/`)) await caches.delete(name);
  }
  await worker.clients.claim();
}

/** @param {string[]} urls */
async function keep(urls) {
  const cache = await caches.open(FOLDER);
  await Promise.all(urls.map(async (url) => (await cache.match(url)) ?? cache.add(url).catch(() => {})));
}

/** @param {Request} request @returns {Promise<Response>} */
async function asset(request) {
  const cache = await caches.open(FOLDER);
  const kept = await cache.match(request);
  if (kept) return kept;
  const response = await fetch(request);
  if (response.ok && new URL(request.url).pathname.startsWith(FOLDER)) await cache.put(request, response.clone());
  return response;
}

/** @param {Request} request @returns {Promise<Response>} */
async function page(request) {
  const cache = await caches.open(FOLDER);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(BASE, response.clone());
    return response;
  } catch {
    return (await cache.match(BASE)) ?? Response.error();
  }
}
