// @ts-check
/** What belongs to one chat: its title, what the model is told before every question, its file, its end. */
import { api } from './api.js';
import { byId } from './dom.js';

/** @import { Session } from './session.js' */
/** @import { Sidebar } from './sidebar.js' */

export class Details {
  #panel = byId('details');
  #title = /** @type {HTMLInputElement} */ (byId('details-title'));
  #system = /** @type {HTMLTextAreaElement} */ (byId('details-system'));
  #why = byId('details-why');

  /** @param {Session} session @param {Sidebar} sidebar @param {() => void} kept the chat is one of the server's now */
  constructor(session, sidebar, kept) {
    this.session = session;
    this.sidebar = sidebar;
    this.kept = kept;
    this.#panel.addEventListener('toggle', (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === 'open') this.show();
    });
    this.#title.addEventListener('change', () => this.#rename());
    this.#system.addEventListener('change', () => this.#saveSystem());
    byId('details-form').addEventListener('submit', (event) => event.preventDefault());
    byId('details-delete').addEventListener('click', () => {
      this.#panel.hidePopover();
      sidebar.remove(session.chat.id);
    });
  }

  /** As the chat is now. */
  show() {
    const { id, title, system, local } = this.session.chat.info;
    this.#title.value = title;
    this.#system.value = system;
    this.#title.disabled = this.#system.disabled = false; // before this module was here nobody would have listened
    this.#why.textContent = '';
    for (const part of this.#panel.querySelectorAll('.of-a-chat')) part.toggleAttribute('hidden', local);
    for (const format of /** @type {const} */ (['markdown', 'json'])) {
      byId(`export-${format}`).setAttribute('href', api.file(id, format));
    }
  }

  #rename() {
    const { info } = this.session.chat;
    const title = this.#title.value.trim();
    if (!title || title === info.title) return;
    info.title = title;
    this.sidebar.rename(info.id, title);
    this.session.hooks.changed();
  }

  async #saveSystem() {
    const { chat, store } = this.session;
    const { info } = chat;
    const system = this.#system.value.trim();
    if (system === info.system) return;
    try {
      if (info.local) await api.create({ id: info.id, system, ...(info.model && { model: info.model }) });
      else await api.change(info.id, { system });
      Object.assign(info, { system, local: false });
      store.saveChat(info);
      this.#why.textContent = 'Kept. It counts from the next question on.';
      this.kept();
    } catch (error) {
      this.#why.textContent = `It could not be kept. ${/** @type {Error} */ (error).message}`;
    }
  }
}
