// @ts-check
/**
 * Puts the page together: makes its parts, connects them, and routes what a person does to them.
 *
 * What an empty page needs is loaded first; the conversation (reading a stream, Markdown, the wire panel) comes with
 * the first key that is pressed, or at once if the address names a chat.
 */
import { ActivityStrip } from './activity-strip.js';
import { BASE, setKeyPrompt } from './api.js';
import { AutoScroll } from './auto-scroll.js';
import { ChatList } from './chat-list.js';
import { Composer } from './composer.js';
import { button, byId, h } from './dom.js';
import { LocalStore } from './local-store.js';
import { askForKey } from './login-dialog.js';
import { ModelPicker } from './model-picker.js';
import { ChangeFeed, changeHandler } from './remote-changes.js';
import { go, named, onroute, pointed, rename } from './router.js';
import { bind, settings } from './settings.js';
import { Sidebar } from './sidebar.js';

/** @import { Message } from './chat.js' */
/** @import { Session } from './session.js' */
/** @import { WirePanel } from './wire-panel.js' */

const WORKER = new URL('./service-worker.js', import.meta.url).href;
const store = new LocalStore();
const models = new ModelPicker();
const strip = new ActivityStrip();
const scroll = new AutoScroll(byId('scroller'), byId('newest'));
const composer = new Composer(/** @type {HTMLFormElement} */ (byId('composer')), {
  send,
  stop: () => session?.stop(),
  editLast,
  draft: (text) => {
    conversation().catch(() => (loading = null));
    store.saveDraft(session && !session.chat.empty ? session.chat.id : 'new', text);
  },
});
const chats = new ChatList(store, () => sidebar.show());
const sidebar = new Sidebar(
  chats,
  () => session?.chat.id ?? '',
  () => go(''),
);
const applyChange = changeHandler(
  () => session,
  chats,
  (text) => sidebar.notify(text),
);
const feed = new ChangeFeed(applyChange, () => chats.refresh());

/** @type {Session | null} */ let session = null;
/** @type {WirePanel | null} */ let panel = null;
/** @type {Promise<Session> | null} */ let loading = null;

/** The conversation, loaded once. */
function conversation() {
  return (loading ??= load());
}

async function load() {
  const script = /** @type {HTMLElement} */ (document.querySelector('script[data-lazy-modules]'));
  const links = (script.dataset.lazyModules ?? '').split(' ').map((name) => new URL(`./${name}.js`, import.meta.url).href);
  document.head.append(...links.map((href) => h('link', { rel: 'modulepreload', href })));
  const [{ Session }, { Thread }, { WirePanel }, { ChatDetails }] = await Promise.all([
    import('./session.js'),
    import('./thread.js'),
    import('./wire-panel.js'),
    import('./chat-details.js'),
  ]);
  panel = new WirePanel();
  const thread = new Thread(byId('log'), byId('earlier'), scroll, {
    act,
    switchTo: (message, step) => session?.switchTo(message, step),
    typing: () => settings.get('typing') === 'on',
  });
  session = new Session(store, thread, {
    onChange,
    onStored: () => chats.refresh(),
    onWire: () => (strip.requestDraw(), panel?.update()),
    notify: (text) => sidebar.notify(text),
  });
  const details = new ChatDetails(session, sidebar, () => {
    rename(named() || (session?.chat.id ?? ''), true);
    chats.refresh();
  });
  if (byId('details').matches(':popover-open')) details.show();
  return session;
}

/** The server does not answer, or has been replaced by another version. */
function notLoaded() {
  loading = null;
  const reload = button('Reload', '', () => location.reload());
  sidebar.notify('The server does not answer. What you have written is still here.', reload);
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
  scroll.toEnd();
  if (matchMedia('(hover: hover)').matches) composer.focus();
}

/** @param {import('./status-text.js').Action | 'edit' | 'another'} what @param {Message} message */
function act(what, message) {
  if (session?.busy && what !== 'now' && what !== 'signIn') {
    sidebar.notify('One answer at a time. Stop the one that is being written, or wait for its end.');
  } else if (what === 'edit') composer.edit(message.id, message.text);
  else if (what === 'continue') session?.continueAnswer(message);
  else if (what === 'resend') session?.resend(message);
  else if (what === 'now' || what === 'signIn') session?.reconnect();
  else session?.regenerate(message, models.picked);
}

function editLast() {
  const last = session?.chat.path.findLast(({ role }) => role === 'user');
  if (last) composer.edit(last.id, last.text);
  return last?.id ?? null;
}

let [announced, wasBusy] = ['', false];
/** The chat, or the phase of its answer, has changed. */
function onChange() {
  if (!session) return;
  const { chat, busy, log, announcement } = session;
  document.body.classList.toggle('empty', chat.empty);
  byId('title').hidden = chat.empty;
  byId('title').textContent = chat.info.title;
  document.title = chat.info.title ? `${busy ? '▮ ' : ''}${chat.info.title} · tickertape` : 'tickertape';
  composer.busy = feed.busy = busy;
  if (wasBusy !== (wasBusy = busy)) chats.refresh();
  strip.show(log);
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
  scroll.toEnd();
  sidebar.show();
  if (!(await shown) && named() === id) {
    sidebar.notify('There is no such chat here any more.');
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
  if (!session.chat.path.includes(message)) session.switchTo(message, 0);
  session.thread.reveal(message.id, chats.query);
}

async function start() {
  composer.text = store.draft(named() || 'new');
  sidebar.show();
  const shown = route().catch(notLoaded);
  await models.load();
  await shown;
  if (session) models.pick(session.chat.info.model);
  feed.begin(); // its first event is a reset: everything is read
  await keepOffline();
}

/** Trusted Types: the one address that a script may be made of. @returns {any} */
function workerUrl() {
  const types = /** @type {any} */ (globalThis).trustedTypes;
  if (!types) return WORKER;
  return types.createPolicy('tickertape', { createScriptURL: () => WORKER }).createScriptURL('');
}

/** Register the service worker that keeps the page for reading without a server, and pass it what is loaded already.
 * Without https, other than on this machine, browsers offer no worker. */
async function keepOffline() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register(workerUrl(), { scope: `${BASE}/` });
    const { active } = await navigator.serviceWorker.ready;
    const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
    active?.postMessage([`${BASE}/`, ...loaded.filter((name) => name.includes('/assets/'))]);
  } catch {
    // A browser that forbids it, or a private window: the page works as it did.
  }
}

setKeyPrompt(askForKey);
store.onfull = () => sidebar.notify('This browser keeps no more copies for reading without a server.');
for (const name of /** @type {const} */ (['theme', 'typing', 'transport'])) bind(name);
settings.addEventListener('transport', () => session?.reconnect());
models.onpick = (/** @type {string} */ model) => session?.useModel(model);
byId('activity').addEventListener('click', () => conversation().then(() => panel?.toggle(!panel.open), notLoaded));
byId('details').addEventListener('beforetoggle', () => conversation().catch(notLoaded));
onroute(() => route().catch(notLoaded));
addEventListener('pagehide', () => session?.reader?.saveNow());
document.addEventListener('visibilitychange', () => document.hidden && session?.reader?.saveNow());
for (const name of ['online', 'offline']) addEventListener(name, () => session?.tick());
setInterval(() => session?.tick(), 500);
settings.addEventListener('theme', () => {
  document.documentElement.dataset.theme = settings.get('theme');
  strip.recolour();
});
for (const example of document.querySelectorAll('[data-ask]')) {
  example.addEventListener('click', () => send(/** @type {HTMLElement} */ (example).dataset.ask ?? ''));
}
byId('new').addEventListener('click', () => {
  go('');
  composer.focus();
});
addEventListener('keydown', (event) => {
  const typing = event.target instanceof Element && event.target.closest('input, textarea, select, dialog');
  if (event.key === 'Escape' && session?.busy && !document.querySelector('dialog[open], :popover-open')) session.stop();
  else if (event.ctrlKey || event.metaKey ? event.key === 'k' : event.key === '/' && !typing) {
    event.preventDefault();
    sidebar.search();
  }
});
if (matchMedia('(hover: hover)').matches) composer.focus(); // not on a phone: the keyboard would cover the page
start();
