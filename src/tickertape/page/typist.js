// @ts-check
/** Types on the page: one commit a frame, and at once where nobody could watch it being typed. */
import { Typewriter } from './typewriter.js';

const STILL = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether text is typed at all: not if switched off, unseen, or unwanted motion. @param {boolean} wanted */
function typed(wanted) {
  return wanted && !document.hidden && !STILL.matches;
}

export class Typist {
  #typewriter = new Typewriter();
  #ready = ''; // to be shown with the next commit, whatever the pace
  #frame = 0;
  #types = false; // asked once a frame
  #quiet = new AbortController();

  /** @param {(text: string) => void} commit @param {() => boolean} wanted the setting */
  constructor(commit, wanted) {
    this.commit = commit;
    this.wanted = wanted;
    const now = () => document.hidden && this.flush();
    document.addEventListener('visibilitychange', now, { signal: this.#quiet.signal });
  }

  /** @param {string} text @param {boolean} live written just now, and not before we came */
  push(text, live) {
    if (!this.#frame) this.#types = typed(this.wanted());
    if (live && this.#types) this.#typewriter.push(text, performance.now());
    else this.#ready += this.#typewriter.flush() + text;
    if (document.hidden)
      queueMicrotask(() => this.flush()); // no frames come; events of one read are shown together
    else this.#frame ||= requestAnimationFrame((now) => this.#tick(now));
  }

  /** Show everything now. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const text = this.#ready + this.#typewriter.flush();
    this.#ready = '';
    if (text) this.commit(text);
  }

  /** Forget what is pending, for good. */
  close() {
    this.#quiet.abort();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {number} now */
  #tick(now) {
    const text = this.#ready + this.#typewriter.take(now);
    this.#ready = '';
    this.#frame = this.#typewriter.pending ? requestAnimationFrame((next) => this.#tick(next)) : 0;
    if (text) this.commit(text);
  }
}
