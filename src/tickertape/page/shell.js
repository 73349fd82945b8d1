// @ts-check
/** Around the conversation: the list of chats, the theme, keys, the example questions. */
import { byId } from './dom.js';
import { go } from './router.js';
import { settings } from './settings.js';

/** @import { Composer } from './composer.js' */
/** @import { Tape } from './tape.js' */

/** From here on there is room for the list beside the conversation. */
const WIDE = matchMedia('(min-width: 1080px)');

/** @param {{ composer: Composer, busy: () => boolean, stop: () => void, send: (text: string) => void, tape: Tape }} parts */
export function shell({ composer, busy, stop, send, tape }) {
  theme(tape);
  const toggle = chats();
  for (const example of document.querySelectorAll('[data-ask]')) {
    example.addEventListener('click', () => send(/** @type {HTMLElement} */ (example).dataset.ask ?? ''));
  }
  byId('new').addEventListener('click', () => {
    go('');
    composer.focus();
  });
  addEventListener('keydown', (event) => {
    const typing = event.target instanceof Element && event.target.closest('input, textarea, select, dialog');
    if (event.key === 'Escape' && busy() && !document.querySelector('dialog[open], :popover-open')) stop();
    else if (event.ctrlKey || event.metaKey ? event.key === 'k' : event.key === '/' && !typing) {
      event.preventDefault();
      toggle(true);
      byId('search').focus();
    }
  });
  if (matchMedia('(hover: hover)').matches) composer.focus(); // not on a phone: the keyboard would cover the page
}

/** @param {Tape} tape */
function theme(tape) {
  settings.addEventListener('theme', () => {
    document.documentElement.dataset.theme = settings.get('theme');
    tape.recolour();
  });
}

/** The list of chats: beside the page where there is room, over it where there is none. Returns what opens and closes it. */
function chats() {
  const list = byId('sidebar');
  const opener = byId('chats-open');
  const veil = byId('veil');
  const show = (/** @type {boolean} */ open) => {
    list.hidden = !open;
    veil.hidden = !open || WIDE.matches;
    opener.setAttribute('aria-expanded', String(open));
    document.body.classList.toggle('with-chats', open);
  };
  const toggle = (/** @type {boolean} */ open) => {
    if (WIDE.matches) settings.set('chats', open ? 'open' : 'closed');
    show(open);
    if (open && !WIDE.matches) byId('new').focus();
    if (!open) opener.focus();
  };
  const settle = () => show(WIDE.matches && settings.get('chats') !== 'closed');
  opener.addEventListener('click', () => toggle(list.hidden));
  byId('chats-close').addEventListener('click', () => toggle(false));
  veil.addEventListener('click', () => toggle(false));
  list.addEventListener('keydown', ({ key }) => key === 'Escape' && !WIDE.matches && toggle(false));
  list.addEventListener('click', ({ target }) => {
    if (!WIDE.matches && target instanceof Element && target.closest('a, #new')) show(false);
  });
  WIDE.addEventListener('change', settle);
  settle();
  return (/** @type {boolean} */ open) => {
    if (list.hidden === open) toggle(open);
  };
}
