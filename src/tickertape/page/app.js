// @ts-check
/** Puts the page together: what happens on it, and who is told. */
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { byId } from './dom.js';
import { unlock } from './key.js';
import { Models } from './models.js';
import { Panel } from './panel.js';
import { Sticky } from './scroll.js';
import { Session } from './session.js';
import { bind, settings } from './settings.js';
import { shell } from './shell.js';
import { Sidebar } from './sidebar.js';
import { isOver, LocalStore } from './store.js';
import { Tape } from './tape.js';
import { Thread } from './thread.js';
import { announcement } from './words.js';

/** @import { Message } from './store.js' */

const store = new LocalStore();
const models = new Models(unlock);
const tape = new Tape();
const panel = new Panel();
const sticky = new Sticky(byId('scroller'), byId('newest'));
const thread = new Thread(byId('log'), {
  act,
  turnTo: (message, step) => session.turnTo(message, step),
  written: () => sticky.follow(),
  typing: () => settings.get('typing') === 'on',
});
const session = new Session(store, thread, {
  unlock,
  changed,
  wire: () => {
    tape.poke();
    panel.update();
  },
  stored: () => sidebar.show(),
});
const composer = new Composer(/** @type {HTMLFormElement} */ (byId('composer')), {
  send,
  stop: () => session.stop(),
  editLast,
  draft: (text) => store.saveDraft(session.chat.empty ? 'new' : session.chat.id, text),
});
const sidebar = new Sidebar(
  store,
  () => session.chat.id,
  () => (location.hash = ''),
);

/** @param {string} text @param {string | null} [editing] */
function send(text, editing = null) {
  if (session.busy) return;
  session.send(text, editing, models.picked);
  history.replaceState(null, '', `#/c/${session.chat.id}`);
  sidebar.show();
  sticky.toEnd();
}

/** @param {import('./words.js').Action | 'edit' | 'another'} what @param {Message} message */
function act(what, message) {
  if (what === 'edit') composer.edit(message.id, message.text);
  else if (what === 'resend') session.resend(message);
  else if (what === 'now' || what === 'unlock') session.reattach();
  else session.again(message, models.picked);
}

function editLast() {
  const last = session.chat.path.findLast(({ role }) => role === 'user');
  if (last) composer.edit(last.id, last.text);
  return last?.id ?? null;
}

let announced = '';
/** The chat or the phase of its answer is another. */
function changed() {
  const { chat, run, busy } = session;
  document.body.classList.toggle('empty', chat.empty);
  document.title = chat.info.title ? `${busy ? '▮ ' : ''}${chat.info.title} · tickertape` : 'tickertape';
  composer.busy = busy;
  tape.show(session.log);
  panel.show(session.log);
  const words = run ? announcement(run.message, run.phase) : '';
  if (words !== announced) byId('status').textContent = announced = words;
  sticky.follow();
}

/** Open what the address names. Without one: the chat whose answer is still being written, or a new one. */
async function route() {
  const [, id = ''] = /^#\/c\/([0-9a-f]+)$/.exec(location.hash) ?? [];
  if (id && id === session.chat.id) return;
  const info = (await store.chats()).find((chat) => chat.id === id);
  const chat = info ? new Chat(info, await store.messages(id)) : new Chat();
  composer.edit(null, store.draft(info ? id : 'new'));
  session.open(chat);
  if (info?.model) models.pick(info.model);
  sticky.toEnd();
  sidebar.show();
}

/** @returns {Promise<void>} */
async function start() {
  if (!location.hash) {
    const [newest] = await store.chats();
    const last = newest && (await store.messages(newest.id)).find(({ id }) => id === newest.leaf);
    if (last && !isOver(last) && last.stream) history.replaceState(null, '', `#/c/${newest.id}`);
  }
  await route();
  await models.load();
  if (session.chat.info.model) models.pick(session.chat.info.model);
}

store.onfull = () => sidebar.say('This browser keeps no more. What is written now is gone with this tab.');
store.watch({ message: (message) => session.merge(message), chats: () => sidebar.show() });
for (const name of /** @type {const} */ (['theme', 'typing', 'transport'])) bind(name);
settings.addEventListener('transport', () => session.reattach());
addEventListener('hashchange', route);
addEventListener('pagehide', () => session.run?.saveNow());
document.addEventListener('visibilitychange', () => document.hidden && session.run?.saveNow());
for (const name of ['online', 'offline']) addEventListener(name, tick);
setInterval(tick, 500);
shell({ composer, session, send, tape });
start();

/** What changes with time alone. */
function tick() {
  const { run, busy } = session;
  if (run && busy && !document.hidden) thread.answer(run.message.id)?.tick(run);
}
