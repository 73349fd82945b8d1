// @ts-check
/** What other tabs and devices do, and what follows from it here. */
import { oneAtATime } from './once.js';
import { go } from './router.js';

/** @import { Chats } from './chats.js' */
/** @import { Change } from './feed.js' */
/** @import { Session } from './session.js' */

/** @param {() => Session | null} open @param {Chats} chats @param {(words: string) => void} say @returns {(change: Change) => void} */
export function elsewhere(open, chats, say) {
  let followed = false; // whether what came last is to be shown
  const reread = oneAtATime(() => {
    const read = open()?.refresh(followed);
    followed = false;
    return read;
  });
  return (change) => {
    const { conversation_id: id, what, message_id: about = '' } = change;
    if (id && what === 'deleted') chats.drop(id);
    chats.refresh();
    const session = open();
    if (!session || session.chat.info.local || (id ?? session.chat.id) !== session.chat.id) return;
    if (session.own.knows(change, session.chat.get(about))) return;
    followed ||= what === 'message' || what === 'reset';
    if (what !== 'deleted') return void reread();
    say('This chat was deleted.');
    go('');
  };
}
