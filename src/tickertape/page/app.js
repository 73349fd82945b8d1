// @ts-check
/**
 * Puts the page together: what happens on it, and who is told.
 *
 * What an empty page needs is loaded first; the conversation (reading a stream, Markdown, the wire's panel) comes with
 * the first key that is pressed, or at once where there is something to show.
 */
import { Composer } from './composer.js';
import { button, byId, h } from './dom.js';
import { unlock } from './key.js';
import { Models } from './models.js';
import { Sticky } from './scroll.js';
import { bind, settings } from './settings.js';
import { shell } from './shell.js';
import { Sidebar } from './sidebar.js';
import { isOver, LocalStore } from './store.js';
import { Tape } from './tape.js';

/** @import { Panel } from './panel.js' */
/** @import { Session } from './session.js' */
/** @import { Message } from './store.js' */

const store = new LocalStore();
const models = new Models(unlock);
const tape = new Tape();
const sticky = new Sticky(byId('scroller'), byId('newest'));
const composer = new Composer(/** @type {HTMLFormElement} */ (byId('composer')), {
  send,
  stop: () => session?.stop(),
  editLast,
  draft: (text) => {
    conversation().catch(() => (loading = null));
    store.saveDraft(session && !session.chat.empty ? session.chat.id : 'new', text);
  },
});
const sidebar = new Sidebar(
  store,
  () => session?.chat.id ?? '',
  () => (location.hash = '#/'),
);

/** @type {Session | null} */ let session = null;
/** @type {Panel | null} */ let panel = null;
/** @type {Promise<Session> | null} */ let loading = null;

/** The conversation, loaded once. */
function conversation() {
  return (loading ??= load());
}

async function load() {
  const script = /** @type {HTMLElement} */ (document.querySelector('script[data-later]'));
  const links = (script.dataset.later ?? '').split(' ').map((name) => new URL(`./${name}.js`, import.meta.url).href);
  document.head.append(...links.map((href) => h('link', { rel: 'modulepreload', href })));
  const [parts, { Thread }, { Panel }] = await Promise.all([
    import('./session.js'),
    import('./thread.js'),
    import('./panel.js'),
  ]);
  panel = new Panel();
  const thread = new Thread(byId('log'), {
    act,
    turnTo: (message, step) => session?.turnTo(message, step),
    written: () => sticky.follow(),
    typing: () => settings.get('typing') === 'on',
  });
  session = new parts.Session(store, thread, { unlock, changed, wire, stored: () => sidebar.show() });
  return session;
}

/** The rest of the page could not be loaded: the server is gone, or was replaced by another version. */
function notLoaded() {
  loading = null;
  const again = button('Reload', '', () => location.reload());
  sidebar.say('The server does not answer. What you have written is still here.', again);
}

/** @param {string} text @param {string | null} [editing] */
async function send(text, editing = null) {
  try {
    await conversation();
  } catch {
    composer.edit(editing, text);
    store.saveDraft('new', text);
    return notLoaded();
  }
  if (!session || session.busy) return;
  session.send(text, editing, models.picked);
  history.replaceState(null, '', `#/c/${session.chat.id}`);
  sidebar.show();
  sticky.toEnd();
  if (matchMedia('(hover: hover)').matches) composer.focus();
}

/** @param {import('./words.js').Action | 'edit' | 'another'} what @param {Message} message */
function act(what, message) {
  if (what === 'edit') composer.edit(message.id, message.text);
  else if (what === 'resend') session?.resend(message);
  else if (what === 'now' || what === 'unlock') session?.reattach();
  else session?.again(message, models.picked);
}

function editLast() {
  const last = session?.chat.path.findLast(({ role }) => role === 'user');
  if (last) composer.edit(last.id, last.text);
  return last?.id ?? null;
}

function wire() {
  tape.poke();
  panel?.update();
}

let announced = '';
/** The chat or the phase of its answer is another. */
function changed() {
  if (!session) return;
  const { chat, busy, log, announcement } = session;
  document.body.classList.toggle('empty', chat.empty);
  byId('title').hidden = chat.empty;
  byId('title').textContent = chat.info.title;
  document.title = chat.info.title ? `${busy ? '▮ ' : ''}${chat.info.title} · tickertape` : 'tickertape';
  composer.busy = busy;
  tape.show(log);
  panel?.show(log);
  if (announcement !== announced) byId('status').textContent = announced = announcement;
  sticky.follow();
}

/** Open what the address names, or a new chat. */
async function route() {
  const [, id = ''] = /^#\/c\/([0-9a-f]+)$/.exec(location.hash) ?? [];
  if (id ? id === session?.chat.id : !session) return;
  const info = (await store.chats()).find((chat) => chat.id === id);
  const open = await conversation();
  composer.edit(null, store.draft(info ? id : 'new'));
  await open.show(info ?? null);
  if (info?.model) models.pick(info.model);
  sticky.toEnd();
  sidebar.show();
}

async function start() {
  const [newest] = await store.chats();
  if (newest && !location.hash) {
    // An answer that is still being written is what one comes back for.
    const last = (await store.messages(newest.id)).find(({ id }) => id === newest.leaf);
    if (last?.stream && !isOver(last)) history.replaceState(null, '', `#/c/${newest.id}`);
  }
  composer.text = store.draft('new');
  sidebar.show();
  await route().catch(notLoaded);
  await models.load();
  if (session?.chat.info.model) models.pick(session.chat.info.model);
}

store.onfull = () => sidebar.say('This browser keeps no more. What is written now is gone with this tab.');
store.watch({ message: (message) => session?.merge(message), chats: () => sidebar.show() });
for (const name of /** @type {const} */ (['theme', 'typing', 'transport'])) bind(name);
settings.addEventListener('transport', () => session?.reattach());
byId('tape').addEventListener('click', () => conversation().then(() => panel?.toggle(!panel.open), notLoaded));
addEventListener('hashchange', () => route().catch(notLoaded));
addEventListener('pagehide', () => session?.saveNow());
document.addEventListener('visibilitychange', () => document.hidden && session?.saveNow());
for (const name of ['online', 'offline']) addEventListener(name, () => session?.tick());
setInterval(() => session?.tick(), 500);
shell({ composer, busy: () => session?.busy ?? false, stop: () => session?.stop(), send, tape });
start();
