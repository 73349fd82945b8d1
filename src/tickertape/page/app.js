// @ts-check
/**
 * Puts the page together: what happens on it, and who is told.
 *
 * What an empty page needs is loaded first; the conversation (reading a stream, Markdown, the wire's panel) comes with
 * the first key that is pressed, or at once where there is something to show.
 */
import { Chats } from './chats.js';
import { Composer } from './composer.js';
import { button, byId, h } from './dom.js';
import { elsewhere } from './elsewhere.js';
import { Feed } from './feed.js';
import { unlock } from './key.js';
import { Models } from './models.js';
import { keepForReading } from './offline.js';
import { go, named, onroute, pointed, rename } from './router.js';
import { Sticky } from './scroll.js';
import { bind, settings } from './settings.js';
import { shell } from './shell.js';
import { Sidebar } from './sidebar.js';
import { Store } from './store.js';
import { Tape } from './tape.js';

/** @import { Panel } from './panel.js' */
/** @import { Session } from './session.js' */
/** @import { Message } from './store.js' */

const store = new Store();
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
const chats = new Chats(store, () => sidebar.show());
const sidebar = new Sidebar(
  chats,
  () => session?.chat.id ?? '',
  () => go(''),
);
const others = elsewhere(
  () => session,
  chats,
  (words) => sidebar.say(words),
);
const feed = new Feed(others, () => chats.refresh());

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
  const [parts, { Thread }, { Panel }, { Details }] = await Promise.all([
    import('./session.js'),
    import('./thread.js'),
    import('./panel.js'),
    import('./details.js'),
  ]);
  panel = new Panel();
  const thread = new Thread(byId('log'), byId('earlier'), sticky, {
    act,
    turnTo: (message, step) => session?.turnTo(message, step),
    typing: () => settings.get('typing') === 'on',
  });
  const told = { changed, stored: () => chats.refresh(), wire: () => (tape.poke(), panel?.update()) };
  session = new parts.Session(store, thread, { ...told, unlock, say: sidebar.say.bind(sidebar) });
  const details = new Details(session, sidebar, () => {
    rename(named() || (session?.chat.id ?? ''), true);
    chats.refresh();
  });
  if (byId('details').matches(':popover-open')) details.show();
  return session;
}

/** The server is gone, or was replaced by another version. */
function notLoaded() {
  loading = null;
  const reload = button('Reload', '', () => location.reload());
  sidebar.say('The server does not answer. What you have written is still here.', reload);
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
  rename(session.chat.id, true);
  sticky.toEnd();
  if (matchMedia('(hover: hover)').matches) composer.focus();
}

/** @param {import('./words.js').Action | 'edit' | 'another'} what @param {Message} message */
function act(what, message) {
  if (session?.busy && what !== 'now' && what !== 'unlock') {
    sidebar.say('One answer at a time. Stop the one that is being written, or wait for its end.');
  } else if (what === 'edit') composer.edit(message.id, message.text);
  else if (what === 'continue') session?.goOn(message);
  else if (what === 'resend') session?.resend(message);
  else if (what === 'now' || what === 'unlock') session?.reattach();
  else session?.again(message, models.picked);
}

function editLast() {
  const last = session?.chat.path.findLast(({ role }) => role === 'user');
  if (last) composer.edit(last.id, last.text);
  return last?.id ?? null;
}

let [announced, wasBusy] = ['', false];
/** The chat or the phase of its answer is another. */
function changed() {
  if (!session) return;
  const { chat, busy, log, announcement } = session;
  document.body.classList.toggle('empty', chat.empty);
  byId('title').hidden = chat.empty;
  byId('title').textContent = chat.info.title;
  document.title = chat.info.title ? `${busy ? '▮ ' : ''}${chat.info.title} · tickertape` : 'tickertape';
  composer.busy = feed.busy = busy;
  if (wasBusy !== (wasBusy = busy)) chats.refresh();
  tape.show(log);
  panel?.show(log);
  if (announcement !== announced) byId('status').textContent = announced = announcement;
}

/** Open what the address names. */
async function route() {
  const id = named();
  if (id ? id === session?.chat.id : !session) return reveal();
  const open = await conversation();
  composer.edit(null, store.draft(id || 'new'));
  const shown = open.show(id || undefined);
  sticky.toEnd();
  sidebar.show();
  if (!(await shown) && named() === id) {
    sidebar.say('There is no such chat here any more.');
    return go('');
  }
  if (open.chat.id === id) models.pick(open.chat.info.model);
  sidebar.show();
  reveal();
}

/** Show the message that the address names, on the path that leads through it. */
function reveal() {
  const message = session?.chat.get(pointed());
  if (!session || !message || session.chat.id !== named()) return;
  if (!session.chat.path.includes(message)) session.turnTo(message, 0);
  session.thread.reveal(message.id, chats.words);
}

async function start() {
  composer.text = store.draft(named() || 'new');
  sidebar.show();
  const shown = route().catch(notLoaded);
  await models.load();
  await shown;
  if (session) models.pick(session.chat.info.model);
  feed.begin(); // its first event says: read everything
  await keepForReading();
}

store.onfull = () => sidebar.say('This browser keeps no more copies for reading without a server.');
for (const name of /** @type {const} */ (['theme', 'typing', 'transport'])) bind(name);
settings.addEventListener('transport', () => session?.reattach());
models.onpick = (/** @type {string} */ model) => session?.useModel(model);
byId('tape').addEventListener('click', () => conversation().then(() => panel?.toggle(!panel.open), notLoaded));
byId('details').addEventListener('beforetoggle', () => conversation().catch(notLoaded));
onroute(() => route().catch(notLoaded));
addEventListener('pagehide', () => session?.run?.saveNow());
document.addEventListener('visibilitychange', () => document.hidden && session?.run?.saveNow());
for (const name of ['online', 'offline']) addEventListener(name, () => session?.tick());
setInterval(() => session?.tick(), 500);
shell({ composer, busy: () => session?.busy ?? false, stop: () => session?.stop(), send, tape });
start();
