// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMIT, Typewriter } from '../../src/tickertape/page/typewriter.js';

const FRAME = 1000 / 60;

/**
 * Play arrivals against frames; returns when each UTF-16 unit came in and when it was shown.
 * @param {[number, string][]} arrivals @param {number} until @param {(now: number) => number} [nextFrame]
 */
function play(arrivals, until, nextFrame = (now) => now + FRAME) {
  const typewriter = new Typewriter();
  const queue = [...arrivals];
  /** @type {number[]} */ const came = [];
  /** @type {number[]} */ const shown = [];
  /** @type {string[]} */ const frames = [];
  for (let now = 0; now <= until; now = nextFrame(now)) {
    for (; queue.length && queue[0][0] <= now; queue.shift()) {
      const [at, text] = queue[0];
      typewriter.push(text, at);
      for (let i = 0; i < text.length; i++) came.push(at);
    }
    const piece = typewriter.take(now);
    frames.push(piece);
    for (let i = 0; i < piece.length; i++) shown.push(now);
  }
  return { came, shown, frames, left: typewriter.pending };
}

/** @param {number} count @param {number} gap @param {string} [text] @returns {[number, string][]} */
const steady = (count, gap, text = 'word ') => Array.from({ length: count }, (_, i) => [i * gap, text]);

test('no character is shown later than the limit after it came, at any rate', () => {
  for (const arrivals of [
    steady(200, 25),
    steady(20, 700),
    steady(2000, 2),
    steady(5, 1500, 'x'.repeat(900)),
    steady(1, 0, 'a'.repeat(100_000)),
  ]) {
    const { came, shown, left } = play(arrivals, 9000);
    assert.equal(left, 0);
    assert.equal(shown.length, came.length);
    const worst = Math.max(...shown.slice(0, 200_000).map((at, i) => at - came[i]));
    assert.ok(worst <= LIMIT, `${worst} ms behind`);
  }
});

test('at 30 frames a second the limit holds too', () => {
  const { came, shown } = play(steady(300, 40), 13_000, (now) => now + 33);
  assert.ok(Math.max(...shown.map((at, i) => at - came[i])) <= LIMIT);
});

test('the text comes out as it went in', () => {
  const arrivals = steady(50, 30, 'né 👩‍👩‍👧 x\n');
  assert.equal(play(arrivals, 4000).frames.join(''), arrivals.map(([, text]) => text).join(''));
});

test('a burst is spread over frames instead of jumping', () => {
  const { frames } = play(steady(10, 300, 'about thirty characters of it. '), 3300);
  const longest = Math.max(...frames.slice(30).map((piece) => piece.length));
  assert.ok(longest <= 8, `${longest} characters in one frame`);
});

test('a steady stream of tokens flows evenly', () => {
  const { frames } = play(steady(200, 25), 5000);
  const middle = frames.slice(60, 240).map((piece) => piece.length);
  assert.ok(Math.max(...middle) <= 6, `at most ${Math.max(...middle)} in one frame`);
  const idle = middle.filter((length) => length === 0).length;
  assert.ok(idle < 4, `${idle} empty frames`);
});

test('cuts fall between grapheme clusters', () => {
  const family = '👩‍👩‍👧';
  const { frames } = play([[0, `${family}${family}e\u0301${family}🇩🇪🇫🇷`.repeat(20)]], 1000);
  const segmenter = new Intl.Segmenter();
  const whole = [...segmenter.segment(frames.join(''))].map(({ segment }) => segment);
  const pieces = frames.flatMap((piece) => [...segmenter.segment(piece)].map(({ segment }) => segment));
  assert.deepEqual(pieces, whole);
});

test('an emoji sequence split over two events is shown in one piece', () => {
  const { frames } = play(
    [
      [0, 'ab 👩'],
      [120, '\u200d👧 ok'],
    ],
    1000,
  );
  assert.equal(frames.filter((piece) => piece.includes('👩') !== piece.includes('👧')).length, 0);
});

test('but it does not wait beyond the limit for a second half that never comes', () => {
  const { shown, came } = play([[0, 'ab 👩']], 1000);
  assert.equal(shown.length, came.length);
  assert.ok(shown[shown.length - 1] <= LIMIT);
});

test('flush hands out everything at once, and typing goes on after it', () => {
  const typewriter = new Typewriter();
  typewriter.push('some text that waits', 0);
  const first = typewriter.take(16);
  assert.equal(first + typewriter.flush(), 'some text that waits');
  assert.equal(typewriter.flush(), '');
  typewriter.push('more', 1000);
  let text = '';
  for (let now = 1000; now < 1500; now += FRAME) text += typewriter.take(now);
  assert.equal(text, 'more');
});

test('a megabyte at once is shown within the limit and costs little', () => {
  const began = process.cpuUsage();
  const { came, shown } = play([[0, '漢字'.repeat(500_000)]], 500);
  assert.equal(shown.length, came.length);
  assert.ok(process.cpuUsage(began).user < 20_000_000);
});
