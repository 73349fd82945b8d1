// @ts-check
/** What belongs to one chat: its title, its system prompt, its export, its deletion. */
import { api } from './api.js';
import { byId } from './dom.js';

/** @import { Session } from './session.js' */
/** @import { Sidebar } from './sidebar.js' */

export class ChatDetails {
  #panel = byId('details');
  #title = /** @type {HTMLInputElement} */ (byId('details-title'));
  #system = /** @type {HTMLTextAreaElement} */ (byId('details-system'));
  #status = byId('details-status');

  /** @param {Session} session @param {Sidebar} sidebar @param {() => void} kept the chat is on the server now */
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
    this.#title.disabled = this.#system.disabled = false; // until this module was loaded nothing listened
    this.#status.textContent = '';
    for (const part of this.#panel.querySelectorAll('.saved-chat')) part.toggleAttribute('hidden', local);
    for (const format of /** @type {const} */ (['markdown', 'json'])) {
      byId(`export-${format}`).setAttribute('href', api.exportUrl(id, format));
    }
  }

  #rename() {
    const { info } = this.session.chat;
    const title = this.#title.value.trim();
    if (!title || title === info.title) return;
    info.title = title;
    this.sidebar.rename(info.id, title);
    this.session.hooks.onChange();
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
      this.#status.textContent = 'Kept. It counts from the next question on.';
      this.kept();
    } catch (error) {
      this.#status.textContent = `It could not be kept. ${/** @type {Error} */ (error).message}`;
    }
  }
}
