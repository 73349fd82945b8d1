// @ts-check
/**
 * The strip along the composer's upper edge: what happens on the wire, to scale. Each event is a line, spaced from the one
 * before by its true gap in time and as high as its text is long; a heartbeat is a ring, a reconnect two slanted lines, the end
 * a straight line, an end that is not one a jagged line. It moves only while something runs; with reduced motion it is a
 * counter.
 */
import { byId } from './dom.js';
import { WireLog } from './wire-log.js';
import { duration } from './status-text.js';

/** Pixels a millisecond. */
const SPEED = 0.18;
/** Pixels between the newest event and the right edge; milliseconds for which the strip moves on after the end. */
const MARGIN = 14;
const SLIDE = 260;
const HOLES = 12;

export class ActivityStrip {
  #button = byId('activity');
  #canvas = /** @type {HTMLCanvasElement} */ (this.#button.querySelector('canvas'));
  #counter = byId('activity-count');
  #log = new WireLog();
  #frame = 0;
  #counted = '';
  // Kept, for to ask for them in every frame would make the browser do its layout once more.
  #size = { width: 0, height: 0 };
  /** @type {{ ink: string, live: string, line: string } | null} */ #colours = null;
  #still = matchMedia('(prefers-reduced-motion: reduce)');

  constructor() {
    new ResizeObserver(([{ contentRect }]) => {
      this.#size = contentRect;
      this.requestDraw();
    }).observe(this.#canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.recolour());
  }

  /** The theme is another one. */
  recolour() {
    this.#colours = null;
    this.requestDraw();
  }

  /** @param {WireLog} log */
  show(log) {
    this.#log = log;
    this.requestDraw();
  }

  /** Something happened, or looks different. */
  requestDraw() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    this.#count();
    const { width, height } = this.#size;
    const pen = this.#canvas.getContext('2d');
    if (!pen || !width) return;
    const ratio = devicePixelRatio;
    if (this.#canvas.width !== Math.round(width * ratio)) this.#canvas.width = Math.round(width * ratio);
    if (this.#canvas.height !== Math.round(height * ratio)) this.#canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const now = performance.now();
    const end = this.#log.records.at(-1);
    const over = end && (end.kind === 'end' || end.kind === 'broken') ? end : null;
    const running = this.#log.state === 'running' || this.#log.state === 'cut';
    const time = this.#still.matches ? (end?.at ?? 0) : over ? Math.min(now, over.at + SLIDE) : running ? now : 0;
    this.#paint(pen, width, height, time, running);
    if (!this.#still.matches && (running || (over && time < over.at + SLIDE))) this.requestDraw();
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} width @param {number} height @param {number} time @param {boolean} running
   */
  #paint(pen, width, height, time, running) {
    const { ink, live, line } = (this.#colours ??= coloursOf(this.#canvas));
    const head = width - MARGIN;
    const { records } = this.#log;
    const last = records.at(-1);
    const edge =
      last?.kind === 'end' || last?.kind === 'broken' ? head - (time - last.at) * SPEED : running ? head : width;
    pen.fillStyle = line;
    for (let x = edge - 6 - ((time * SPEED) % HOLES); x > 0; x -= HOLES) dot(pen, x, height - 4.5, 1);
    pen.fillStyle = ink;
    for (let i = records.length - 1, before = Infinity; i >= 0; i--) {
      const x = head - (time - records[i].at) * SPEED;
      if (x < -20) break;
      if (records[i].kind === 'event' && before - x < 1) continue; // the two cannot be distinguished
      mark(pen, records[i], x, height, ink, line);
      before = x;
    }
    if (last?.kind === 'broken' || last?.kind === 'end') cut(pen, edge, height, last.kind, ink);
    if (running) {
      pen.fillStyle = live;
      pen.fillRect(head, 3, 3, height - 6);
    }
  }

  #count() {
    const { events, time, reconnects: times } = this.#log;
    const reconnects = times ? ` · ${times} ${times === 1 ? 'reconnect' : 'splices'}` : '';
    const text = events ? `${events} ${events === 1 ? 'event' : 'events'} · ${duration(time)}${reconnects}` : 'wire';
    if (this.#counted !== text) this.#counter.textContent = this.#counted = text;
  }
}

/** The style sheet's colours, which stand on the canvas itself. @param {HTMLElement} canvas */
function coloursOf(canvas) {
  const { color: ink, outlineColor: live, borderTopColor: line } = getComputedStyle(canvas);
  return { ink, live, line };
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y @param {number} radius */
function dot(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
}

/** @param {CanvasRenderingContext2D} pen @param {import('./wire-log.js').Record} record @param {number} x @param {number} height
 * @param {string} ink @param {string} line */
function mark(pen, { kind, text }, x, height, ink, line) {
  const foot = height - 8;
  if (kind === 'event') {
    const tall = Math.min(foot - 3, text ? 3.5 + 1.6 * text.length : 2);
    pen.fillRect(x - 1, foot - tall, 1.25, tall);
  } else if (kind === 'comment') {
    pen.strokeStyle = ink;
    pen.beginPath();
    pen.arc(x, foot - 5, 2.5, 0, 7);
    pen.stroke();
  } else if (kind === 'reconnect') {
    pen.clearRect(x - 6, 0, 9, height);
    pen.strokeStyle = line;
    slant(pen, x - 7, height);
    slant(pen, x, height);
  }
}

/** @param {CanvasRenderingContext2D} pen @param {number} x @param {number} height */
function slant(pen, x, height) {
  pen.beginPath();
  pen.moveTo(x - 2, height - 1);
  pen.lineTo(x + 4, 1);
  pen.stroke();
}

/** The end of the strip. @param {CanvasRenderingContext2D} pen @param {number} x @param {number} height
 * @param {'end' | 'broken'} kind @param {string} ink */
function cut(pen, x, height, kind, ink) {
  pen.strokeStyle = ink;
  pen.beginPath();
  pen.moveTo(x, 1);
  if (kind === 'broken') for (let y = 1, side = 3; y < height - 2; y += 3, side = -side) pen.lineTo(x + side, y + 1.5);
  pen.lineTo(x, height - 1);
  pen.stroke();
}
