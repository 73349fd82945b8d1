// @ts-check
/** Asks for the server's key and changes it for a cookie, which EventSource and the reader's next visit can use. */
import { BASE } from './base.js';
import { byId } from './dom.js';

/** @type {Promise<boolean> | null} */ let asking = null;

/** Ask once, however many want to know; whether the server has accepted a key. @returns {Promise<boolean>} */
export function unlock() {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

/** @returns {Promise<boolean>} */
function ask() {
  const dialog = /** @type {HTMLDialogElement} */ (byId('key'));
  const field = /** @type {HTMLInputElement} */ (byId('key-field'));
  const why = byId('key-why');
  const controller = new AbortController();
  dialog.showModal();
  return new Promise((resolve) => {
    const { signal } = controller;
    const done = (/** @type {boolean} */ accepted) => {
      controller.abort();
      field.value = why.textContent = '';
      dialog.close();
      resolve(accepted);
    };
    dialog.addEventListener('cancel', () => done(false), { signal });
    byId('key-not-now').addEventListener('click', () => done(false), { signal });
    byId('key-form').addEventListener(
      'submit',
      async (event) => {
        event.preventDefault();
        why.textContent = await refusal(field.value.trim());
        if (!why.textContent) done(true);
      },
      { signal },
    );
  });
}

/** Why the server does not take this key; "" if it does. @param {string} key @returns {Promise<string>} */
async function refusal(key) {
  try {
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(`${BASE}/api/session`, { method: 'POST', headers, body: JSON.stringify({ key }) });
    if (response.ok) return '';
    return (await response.json())?.error?.message ?? `The server answered ${response.status}.`;
  } catch {
    return 'The server does not answer.';
  }
}
