// @ts-check
/**
 * Paces text that came over the wire, so that it reads as typed. `Typewriter` decides and is pure: time is an argument;
 * `TypingAnimation` shows what it gives, frame by frame.
 *
 * Two forces move it. The pace follows the measured arrival rate, so that bursts are spread over the gap that
 * follows them. The deadline is hard: no character is handed out later than `limit` after it came in, whatever
 * the pace says. Cuts fall between grapheme clusters; a last cluster that the next piece may still lengthen (an
 * emoji sequence, half a flag) waits for it, but not beyond its deadline.
 */

/** Milliseconds: how far the page may lag behind the wire. */
export const LIMIT = 400;
/** Milliseconds: what has gathered is spread over about this long, well within the limit. */
const SPREAD = 220;
/** Milliseconds: the memory of the rate measurement. */
const WINDOW = 600;
/** Milliseconds: a frame that took longer than this was a pause, not a frame. */
const LONGEST_FRAME = 100;

const GROWS = /[\p{Extended_Pictographic}\p{Regional_Indicator}\u200d\ufe0f\p{Emoji_Modifier}]$/u;
const segmenter = typeof Intl === 'object' && 'Segmenter' in Intl ? new Intl.Segmenter(undefined) : null;
const STILL = globalThis.matchMedia?.('(prefers-reduced-motion: reduce)');

export class Typewriter {
  /** @type {{ end: number, due: number }[]} how far the text had come in, and when that must be out */
  #marks = [];
  #text = '';
  #start = 0; // of what is pending in #text
  #rate = 0; // characters a millisecond, decaying sum over WINDOW
  #credit = 0;
  #first = -1;
  #pushed = -1;
  #taken = -1;

  /** @param {number} [limit] milliseconds */
  constructor(limit = LIMIT) {
    this.limit = limit;
  }

  /** How many UTF-16 units are waiting. */
  get pending() {
    return this.#text.length - this.#start;
  }

  /**
   * Take in what just arrived.
   * @param {string} text
   * @param {number} now milliseconds
   */
  push(text, now) {
    if (!text) return;
    if (!this.pending) {
      this.#text = '';
      this.#start = 0;
      this.#taken = now;
      this.#credit = 0;
    }
    this.#decay(now);
    this.#rate += text.length / WINDOW;
    if (this.#first < 0) this.#first = now;
    this.#text += text;
    this.#marks.push({ end: this.#text.length, due: now + this.limit });
  }

  /**
   * What is to be shown in this frame; call it once a frame while something is pending.
   * @param {number} now milliseconds
   * @returns {string}
   */
  take(now) {
    if (!this.pending) return '';
    const frame = Math.min(Math.max(now - this.#taken, 0), LONGEST_FRAME);
    this.#taken = now;
    this.#credit += frame * this.#pace(now);
    // What falls due before the next frame would be late in it.
    const due = this.#due(now + Math.max(frame, 17)) - this.#start;
    const paced = Math.min(Math.floor(this.#credit), this.pending);
    const cut = Math.max(this.#atLeast(due), this.#atMost(paced));
    this.#credit = Math.max(0, this.#credit - cut);
    return this.#give(cut);
  }

  /** Everything that is pending, at once. */
  flush() {
    this.#credit = 0;
    return this.#give(this.pending);
  }

  /** @param {number} now */
  #decay(now) {
    if (this.#pushed >= 0) this.#rate *= Math.exp(-(now - this.#pushed) / WINDOW);
    this.#pushed = now;
  }

  /** Characters a millisecond. A decaying sum underestimates at first, by what has not yet filled the window.
   * @param {number} now */
  #pace(now) {
    this.#decay(now);
    const filled = 1 - Math.exp(-Math.max(now - this.#first, 50) / WINDOW);
    return Math.max(this.#rate / filled, this.pending / SPREAD);
  }

  /** The end of the text that must be out at `time`.
   * @param {number} time */
  #due(time) {
    let end = this.#start;
    while (this.#marks.length && this.#marks[0].due <= time)
      end = /** @type {{end: number}} */ (this.#marks.shift()).end;
    return end;
  }

  /** The first cluster boundary at or after `wanted`.
   * @param {number} wanted */
  #atLeast(wanted) {
    if (wanted <= 0 || wanted >= this.pending) return Math.max(wanted, 0);
    const before = this.#boundary(wanted);
    return before < wanted ? this.#boundary(wanted, true) : before;
  }

  /** The last cluster boundary at or before `wanted`, keeping back a cluster that may still grow.
   * @param {number} wanted */
  #atMost(wanted) {
    if (wanted <= 0) return 0;
    const grows = wanted === this.pending && GROWS.test(this.#text.slice(-2));
    return this.#boundary(grows ? wanted - 1 : wanted);
  }

  /** The cluster boundary before (or after) a position in the pending text.
   * @param {number} position
   * @param {boolean} [after] */
  #boundary(position, after = false) {
    if (position >= this.pending) return this.pending;
    // Looking begins a little before: at a space, which always opens a cluster, or where no cluster reaches back to.
    const near = this.#text.slice(Math.max(this.#start, this.#start + position - 256), this.#start + position);
    const from = position - near.length + Math.max(0, near.lastIndexOf(' '));
    const text = this.#text.slice(this.#start + from, this.#start + position + 64);
    let last = 0;
    for (const index of clusters(text)) {
      if (from + index > position) return from + (after ? index : last);
      last = index;
      if (from + index === position) return position;
    }
    return from + (after ? text.length : last);
  }

  /** @param {number} count */
  #give(count) {
    const text = this.#text.slice(this.#start, this.#start + count);
    this.#start += count;
    while (this.#marks.length && this.#marks[0].end <= this.#start) this.#marks.shift();
    return text;
  }
}

/** Types on the page: one commit a frame, and all at once in a hidden tab or with reduced motion. */
export class TypingAnimation {
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

/** Whether text is typed at all: not if switched off, unseen, or unwanted motion. @param {boolean} wanted */
function typed(wanted) {
  return wanted && !document.hidden && !STILL?.matches;
}

/** Where the grapheme clusters of a text begin, lazily. Without Intl.Segmenter: its code points.
 * @param {string} text
 * @returns {Generator<number>} */
function* clusters(text) {
  if (segmenter) {
    for (const { index } of segmenter.segment(text)) yield index;
  } else {
    for (let index = 0; index < text.length; index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1) yield index;
  }
  yield text.length;
}
