// @ts-check
/**
 * Decodes an event stream: bytes, however they were cut, to events. WHATWG HTML 9.2.5 and 9.2.6, rule by rule, as in
 * sse/decoder.py; no socket, no clock, no DOM. The standard is quoted beside the code. How it stays fast and bounded:
 *
 * - `LineText` turns bytes into text and CRLF and CR into LF; from there on there is one path.
 * - Only the unfinished line is kept, in pieces: one line in ten thousand reads stays linear.
 * - The unfinished line and the data lines gathered so far never exceed `maxEventSize`, counted in UTF-8 (a U+FFFD
 *   counts as one byte). It is checked line by line only where a read could break it.
 */

/** Bytes. Whole images arrive as base64 in one event; 16 MiB holds a 12 MB one. */
export const MAX_EVENT_SIZE = 16 * 1024 * 1024;

/**
 * One event of an event stream. `data` is the text, its lines joined by LF. `id` is the last event ID at the moment
 * of dispatch: without an `id` field of its own, that of an earlier event stands. `retry` is the reconnection time in
 * milliseconds if the event's block carried one.
 * @typedef {{data: string, type: string, id: string, retry: number | null}} StreamEvent
 */

/** One event was larger than the decoder's `maxEventSize`, the `limit` in bytes; the decoder is finished. */
export class EventTooLarge extends Error {
  /** @param {number} limit */
  constructor(limit) {
    const next = 'Raise maxEventSize if the sender is trusted.';
    super(`An event of more than ${limit} bytes was read; the decoder's maxEventSize is ${limit}. ${next}`);
    this.name = 'EventTooLarge';
    this.limit = limit;
  }
}

/**
 * Turns the bytes of one response body into events.
 *
 * Call `feed` with each piece as it arrives and take the events it returns; call `close` when the body has ended. Use
 * a new decoder for each response and seed it with the `lastEventId` of the one before.
 */
export class Decoder {
  #text = new LineText();
  // "When a stream is parsed, a data buffer, an event type buffer, and a last event ID buffer must be associated
  // with it." The ID buffer outlives a dispatch, the two others do not.
  /** @type {string[]} */ #data = [];
  #type = '';
  #idBuffer = '';
  /** @type {number | null} the retry field of the block being read */ #blockRetry = null;
  #size = 0; // bytes of the data lines measured so far,
  #measured = 0; // and how many these are
  #line = new Pieces(); // the unfinished line
  #failed = false;
  #limit;
  #onComment;

  /**
   * `maxEventSize` is the limit in bytes for one event; `onComment` is called with the text of each comment, all that
   * follows its colon; `lastEventId` is the ID of the response before.
   * @param {{maxEventSize?: number, onComment?: (text: string) => unknown, lastEventId?: string}} [options]
   */
  constructor({ maxEventSize = MAX_EVENT_SIZE, onComment, lastEventId = '' } = {}) {
    if (!(maxEventSize >= 1)) throw new RangeError(`maxEventSize must be at least 1 byte; it was ${maxEventSize}.`);
    this.#limit = maxEventSize;
    this.#onComment = onComment;
    this.#idBuffer = lastEventId;
    /** The last event ID string: what goes into `Last-Event-ID` on reconnecting. */
    this.lastEventId = lastEventId;
    /** @type {number | null} The newest reconnection time in milliseconds, or null if none came. */
    this.retry = null;
  }

  /**
   * Return the events that these bytes complete, in order. Throws EventTooLarge, now and for ever, when one event grows
   * beyond `maxEventSize`; the events before it are returned first, so the error may come with the next call.
   * @param {Uint8Array} chunk
   * @returns {StreamEvent[]}
   */
  feed(chunk) {
    if (this.#failed) throw new EventTooLarge(this.#limit);
    let text = this.#text.decode(chunk);
    // A UTF-16 unit is at most three bytes of UTF-8.
    const checked = this.#size + this.#line.size + 3 * text.length > this.#limit;
    let end = text.indexOf('\n');
    if (end !== -1 && this.#line.size) {
      const pending = this.#line.take();
      text = pending + text;
      end += pending.length;
    }
    /** @type {StreamEvent[]} */ const events = [];
    let start = 0;
    for (; end !== -1; start = end + 1, end = text.indexOf('\n', start)) {
      if (end === start) {
        this.#dispatch(events);
      } else if (checked && this.#exceeds(text, start, end)) {
        return this.#fail(events);
      } else if (text.startsWith('data: ', start)) {
        this.#data.push(text.slice(start + 6, end)); // what LLM servers send comes first
      } else if (text.startsWith('id: ', start)) {
        this.#setId(text.slice(start + 4, end));
      } else {
        this.#field(text.slice(start, end));
      }
    }
    if (start < text.length) {
      const rest = text.slice(start);
      this.#line.push(rest, this.#text.size(rest));
    }
    this.#measure();
    return this.#size + this.#line.size > this.#limit ? this.#fail(events) : events;
  }

  /**
   * Say that the body has ended. "Once the end of the file is reached, any pending data must be discarded": an
   * unfinished block is dropped, its id too. Throws EventTooLarge if that is still owed.
   */
  close() {
    if (this.#failed) throw new EventTooLarge(this.#limit);
    this.#line.take();
    this.#dropBlock();
    this.#idBuffer = this.lastEventId;
  }

  /** "If the line is empty (a blank line): Dispatch the event, as defined below." @param {StreamEvent[]} events */
  #dispatch(events) {
    // 1. "Set the last event ID string of the event source to the value of the last event ID buffer."
    this.lastEventId = this.#idBuffer;
    // 2. "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string
    //    and return." An empty `data` line counts: the buffer then holds its LF.
    if (this.#data.length) {
      // 3. "If the data buffer's last character is a LF, remove the last character." Joining adds none.
      const data = this.#data.length === 1 ? this.#data[0] : this.#data.join('\n');
      // 4-6. "… type … to message …; if the event type buffer is not empty, …"
      events.push({ data, type: this.#type || 'message', id: this.#idBuffer, retry: this.#blockRetry });
    }
    this.#dropBlock(); // 7. "Set the data buffer and the event type buffer to the empty string."
  }

  /** Take one line that is neither empty nor in the commonest form. @param {string} line */
  #field(line) {
    const colon = line.indexOf(':');
    // "If the line starts with a U+003A COLON character (:): Ignore the line."
    if (colon === 0) return void this.#onComment?.(line.slice(1));
    // "If value starts with a U+0020 SPACE character, remove it from value."
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    // "Field names must be compared literally, with no case folding performed."
    switch (colon === -1 ? line : line.slice(0, colon)) {
      case 'event':
        this.#type = value;
        break;
      case 'data':
        this.#data.push(value);
        break;
      case 'id':
        this.#setId(value);
        break;
      case 'retry': // "If the field value consists of only ASCII digits, then interpret [it] as an integer in base ten"
        // Beyond 2**53 - 1 ms, 285 000 years, the exact number does not matter.
        if (/^[0-9]+$/.test(value)) this.#blockRetry = this.retry = Math.min(Number(value), Number.MAX_SAFE_INTEGER);
    } // "Otherwise: The field is ignored."
  }

  /** "If the field value does not contain U+0000 NULL, then set the last event ID buffer." @param {string} value */
  #setId(value) {
    if (!value.includes('\0')) this.#idBuffer = value;
  }

  #measure() {
    const data = this.#data;
    for (; this.#measured < data.length; this.#measured++) this.#size += this.#text.size(data[this.#measured]) + 1;
    if (data.length <= MANY) return;
    data[0] += `\n${data.splice(1).join('\n')}`;
    this.#measured = 1;
  }

  /** @param {string} text @param {number} start @param {number} end */
  #exceeds(text, start, end) {
    this.#measure();
    return this.#size + this.#text.size(text.slice(start, end)) > this.#limit;
  }

  #dropBlock() {
    if (this.#data.length) this.#data = [];
    this.#type = '';
    this.#blockRetry = null;
    this.#size = this.#measured = 0;
  }

  /** Free the memory; throw, or return the events before the giant one. @param {StreamEvent[]} events */
  #fail(events) {
    this.#failed = true;
    this.#line.take();
    this.#data = [];
    if (!events.length) throw new EventTooLarge(this.#limit);
    return events;
  }
}

/**
 * The size of an event on the wire in bytes, if each line is written once, with LF and a space after the colon, as most
 * servers do.
 * @param {StreamEvent} event
 */
export function eventSize({ type, data, id, retry }) {
  let lines = 1;
  for (let at = data.indexOf('\n'); at >= 0; at = data.indexOf('\n', at + 1)) lines++;
  const named = (id ? utf8Size(id) + 5 : 0) + (type === 'message' ? 0 : utf8Size(type) + 8);
  return named + (retry === null ? 0 : String(retry).length + 8) + utf8Size(data) + lines * 6 + 2;
}

const NOTHING = new Uint8Array(0);

/** Beyond ASCII. To look for it costs a tenth of counting. */
const WIDE = /[^\x00-\x7f]/;

/** So many short pieces are joined at a time: an array of them takes less memory than a rope. */
const MANY = 1024;

/**
 * Decodes one response body. "Streams must be decoded using the UTF-8 decode algorithm" (WHATWG HTML 9.2.5), which
 * strips one leading BOM and turns what is invalid into U+FFFD. "Lines must be separated by either a CRLF character
 * pair, a single LF character, or a single CR": all become LF.
 *
 * The up to three bytes of a character that a read leaves unfinished wait for the next one. A lead byte always starts
 * anew, so a cut before it changes nothing, invalid bytes included. This lets each read be decoded in one plain call,
 * which node does at 2-5 times the speed of `{stream: true}`.
 */
class LineText {
  #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** @type {Uint8Array} */ #unfinished = NOTHING;
  #started = false;
  #swallowLf = false;
  #narrow = true; // so far each character was one byte

  /** Return the text that these bytes complete. @param {Uint8Array} chunk */
  decode(chunk) {
    const bytes = this.#characters(chunk);
    let text = this.#decoder.decode(bytes);
    if (!text) return text;
    if (text.length !== bytes.length) this.#narrow = false;
    if (!this.#started) {
      this.#started = true;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    // A CR that ends a read ends its line at once; the LF that may open the next read is swallowed.
    if (this.#swallowLf && text) {
      this.#swallowLf = false;
      if (text.startsWith('\n')) text = text.slice(1);
    }
    if (!text.includes('\r')) return text;
    this.#swallowLf = text.endsWith('\r');
    const shorter = text.replaceAll('\r\n', '\n'); // in two steps, at twice the speed of a pattern for both
    return shorter.includes('\r') ? shorter.replaceAll('\r', '\n') : shorter;
  }

  /** Bytes of a part of the text so far; as `utf8Size`. @param {string} part */
  size(part) {
    return this.#narrow ? part.length : utf8Size(part);
  }

  /** Return what waited and these bytes, up to the last whole character. @param {Uint8Array} chunk */
  #characters(chunk) {
    let bytes = chunk;
    if (this.#unfinished.length) {
      bytes = new Uint8Array(this.#unfinished.length + chunk.length);
      bytes.set(this.#unfinished);
      bytes.set(chunk, this.#unfinished.length);
      this.#unfinished = NOTHING;
    }
    const left = unfinishedBytes(bytes);
    if (!left) return bytes;
    this.#unfinished = bytes.slice(-left);
    return bytes.subarray(0, -left);
  }
}

/** How many bytes at the end begin a character that is not complete. @param {Uint8Array} bytes */
function unfinishedBytes(bytes) {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
  }
  return 0;
}

/** Bytes of a text in UTF-8. A U+FFFD counts as one: mostly it stands for one damaged byte. @param {string} text */
function utf8Size(text) {
  if (!WIDE.test(text)) return text.length;
  let size = text.length;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // Each half of a surrogate pair stands for two of its four bytes.
    if (unit > 0x7f && unit !== 0xfffd) size += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return size;
}

/** A text that grows by pieces, however many and short, in linear time. `size` is that of the whole, in bytes. */
class Pieces {
  size = 0;
  #joined = '';
  /** @type {string[]} */ #newest = [];

  /** @param {string} piece @param {number} size */
  push(piece, size) {
    this.size += size;
    if (this.#newest.push(piece) < MANY) return;
    this.#joined += this.#newest.join('');
    this.#newest = [];
  }

  /** Return the text and begin anew. */
  take() {
    const text = this.#joined + this.#newest.join('');
    this.#joined = '';
    this.#newest = [];
    this.size = 0;
    return text;
  }
}
