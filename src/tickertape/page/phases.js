// @ts-check
/** What an answer goes through while it is read, and who is told. Types alone: nothing of this is loaded. */

/** @import { Message } from './store.js' */

/**
 * @typedef {'sending' | 'thinking' | 'writing' | 'waiting' | 'locked' | 'stopping' | 'over'} Phase
 * @typedef {object} Hooks
 * @property {() => object} request what to POST
 * @property {(message: Message) => void} save
 * @property {(live: boolean, added?: string) => void} text there is more of the answer; not live if it was written before
 * @property {() => void} more of its reasoning or its tool calls
 * @property {() => void} reset the text begins anew
 * @property {(words: string) => void} refused the server knows better how the chat stands; what is to be said, if anything
 * @property {() => void} change the phase or the state is another
 * @property {(what: import('./wirelog.js').Happening) => void} wire
 * @property {() => Promise<boolean>} unlock the server wants a key; whether it has one now
 */

export {};
