// @ts-check
/** The dialog that asks for the server's key and changes it for a session cookie. */
import { api, Refused } from './api.js';
import { byId } from './dom.js';

/** @type {Promise<boolean> | null} */ let asking = null;

/** Ask once, however many callers wait; returns whether the server has accepted a key. @returns {Promise<boolean>} */
export function askForKey() {
  asking ??= showDialog().finally(() => (asking = null));
  return asking;
}

/** @returns {Promise<boolean>} */
function showDialog() {
  const dialog = /** @type {HTMLDialogElement} */ (byId('login'));
  const field = /** @type {HTMLInputElement} */ (byId('login-key'));
  const refused = byId('login-error');
  const controller = new AbortController();
  dialog.showModal();
  return new Promise((resolve) => {
    const { signal } = controller;
    const done = (/** @type {boolean} */ accepted) => {
      controller.abort();
      field.value = refused.textContent = '';
      dialog.close();
      resolve(accepted);
    };
    dialog.addEventListener('cancel', () => done(false), { signal });
    byId('login-cancel').addEventListener('click', () => done(false), { signal });
    byId('login-form').addEventListener(
      'submit',
      async (event) => {
        event.preventDefault();
        refused.textContent = await tryKey(field.value.trim());
        if (!refused.textContent) done(true);
      },
      { signal },
    );
  });
}

/**
 * Sign in with this key; returns why the server refused it, "" if it did not.
 * @param {string} key @returns {Promise<string>}
 */
async function tryKey(key) {
  try {
    await api.createSession(key);
    return '';
  } catch (error) {
    return error instanceof Refused ? error.message : 'The server does not answer.';
  }
}
