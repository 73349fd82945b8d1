// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IncrementalInline, parseInline } from '../../src/tickertape/page/inline.js';
import { DEEPEST, Markdown } from '../../src/tickertape/page/markdown.js';

/** @import { Block } from '../../src/tickertape/page/markdown.js' */
/** @import { Inline } from '../../src/tickertape/page/inline.js' */

/** @param {Inline[]} nodes @returns {string} */
function flat(nodes) {
  return nodes
    .map((node) => {
      if (typeof node === 'string') return node.replaceAll('<', '‹');
      if (node.tag === 'span') return flat(node.children);
      return `<${node.tag}${node.href ? ` ${node.href}` : ''}>${flat(node.children)}</${node.tag}>`;
    })
    .join('');
}

/** @param {string} text */
const inline = (text) => flat(parseInline(text, true).nodes).replaceAll('<br></br>', '<br>');

/** @param {Block} node @returns {string} */
function html(node) {
  const inner = node.children.map(html).join('');
  switch (node.type) {
    case 'root':
      return inner;
    case 'quote':
      return `<quote>${inner}</quote>`;
    case 'list':
      return `<${node.start >= 0 ? `ol ${node.start}` : 'ul'}${node.loose ? ' loose' : ''}>${inner}</>`;
    case 'item':
      return `<li${node.info ? `[${node.info}]` : ''}>${inner}</li>`;
    case 'text':
      return `<p>${inline(node.text)}</p>`;
    case 'heading':
      return `<h${node.level}>${inline(node.text)}</h${node.level}>`;
    case 'code':
      return `<pre ${node.info}>${node.text}</pre>`;
    case 'table':
      return `<table ${node.align.map((side) => side || '-').join(' ')}>${inner}</table>`;
    case 'row':
      return `<tr>${node.cells.map((cell) => `<td>${inline(cell)}</td>`).join('')}</tr>`;
    default:
      return `<${node.type}>`;
  }
}

/** @param {string} text */
function render(text) {
  const markdown = new Markdown();
  markdown.append(text);
  markdown.end();
  return html(markdown.root);
}

/** A small deterministic random generator. @param {number} seed */
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const DOCUMENT = `# A title with **weight**

Plain text with *emphasis*, **strong _and_ both**, ~~struck~~, \`code\`, a [link](https://example.org/a_(b)) and
https://example.org/bare, too. 2 * 3 * 4 and snake_case_name stay as they are.

> A quote
lazily going on
> > deeper

- one
- two
  - nested **bold**
  - [x] done
  - [ ] open

  a second paragraph
3. three
4. four

| Name | Value | Right |
|------|:-----:|------:|
| a \\| b | \`x|y\` | 3 |
| last | | |
after

Heading below
---
\`\`\`js
const a = "<script>"; // *not emphasis*

\`\`\`
~~~
unclosed
- fence
`;

/** Random text of marks and words, which is worse than any model. @param {() => number} next */
function noise(next) {
  const parts =
    '* ** _ __ ` `` ``` ~~ [ ] ]( ) ![ < > # - + 1. 2) | \\ ! & \n \n\n \n- \n> \n| \n|-|-|\n  \t http:// a b7 word é 👩‍👩‍👧 <b> &lt; - [ ] === --- " $ $$ \\( \\) \\[ \\] a^2'.split(
      ' ',
    );
  let text = '';
  for (let i = 0; i < 40; i++) text += parts[Math.floor(next() * parts.length)] + (next() < 0.4 ? ' ' : '');
  return text;
}

test('blocks: every kind is recognised', () => {
  assert.equal(render('# Hi #\n\ntext\nmore'), '<h1>Hi</h1><p>text<br>more</p>');
  assert.equal(render('Title\n===\nSub\n---\n***'), '<h1>Title</h1><h2>Sub</h2><rule>');
  assert.equal(render('- a\n- b\n\n- c'), '<ul loose><li><p>a</p></li><li><p>b</p></li><li><p>c</p></li></>');
  assert.equal(render('1. a\n   - b\n2. c'), '<ol 1><li><p>a</p><ul><li><p>b</p></li></></li><li><p>c</p></li></>');
  assert.equal(render('- [x] a\n- [ ] b'), '<ul><li[x]><p>a</p></li><li[ ]><p>b</p></li></>');
  assert.equal(render('> a\n> > b\n\nc'), '<quote><p>a</p><quote><p>b</p></quote></quote><p>c</p>');
  assert.equal(render('```py\nx = 1\n\n  y\n```\nz'), '<pre py>x = 1\n\n  y\n</pre><p>z</p>');
  assert.equal(
    render('|a|b|\n|-|-:|\n|1|2|3|\n|4|\n\nend'),
    '<table - end><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr><tr><td>4</td><td></td></tr></table><p>end</p>',
  );
  assert.equal(
    render('a | b\n--|--\n1 | 2'),
    '<table - -><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table>',
  );
});

test('blocks: a table with a delimiter too many is a table', () => {
  assert.equal(render('|a|b|\n|-|-|-|\n|1|2|'), render('|a|b|\n|-|-|\n|1|2|'));
  assert.equal(render('a|b\n-|-|-\n1|2'), render('a|b\n-|-\n1|2'));
});

test('blocks: what only looks like one stays text', () => {
  assert.equal(render('#hashtag'), '<p>#hashtag</p>');
  assert.equal(render('| not | a table\nmore'), '<p>| not | a table<br>more</p>');
  assert.equal(render('It was\n1984. A year.'), '<p>It was<br>1984. A year.</p>');
  assert.equal(render('<div>html</div>'), '<p>‹div>html‹/div></p>');
});

test('inline: emphasis as CommonMark has it', () => {
  assert.equal(
    inline('*a* **b** ***c*** _d_ __e__'),
    '<em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong>',
  );
  assert.equal(inline('snake_case_name 2*3*4 a * b'), 'snake_case_name 2<em>3</em>4 a * b');
  assert.equal(inline('**a *b* c**'), '<strong>a <em>b</em> c</strong>');
  assert.equal(inline('*unclosed and **unclosed'), '*unclosed and **unclosed');
  assert.equal(inline('`a*b*` ``x`y`` `open'), '<code>a*b*</code> <code>x`y</code> `open');
  assert.equal(inline('\\*not\\* a\\\nb'), '*not* a<br>b');
  assert.equal(inline('a<br>b &lt;&amp; 1 < 2'), 'a<br>b ‹& 1 ‹ 2');
});

test('inline: links lead only to http, https and mailto', () => {
  assert.equal(inline('[a](https://x.y/z?(q) "title")'), '<a https://x.y/z?(q)>a</a>');
  assert.equal(
    inline('[a *b*](https://x.y/(q)) ![pic](http://p.q/i.png)'),
    '<a https://x.y/(q)>a <em>b</em></a> <a http://p.q/i.png>pic</a>',
  );
  assert.equal(
    inline('see https://x.y/a_b_(c). <mail@x.org>'),
    'see <a https://x.y/a_b_(c)>https://x.y/a_b_(c)</a>. <a mailto:mail@x.org>mail@x.org</a>',
  );
  for (const bad of [
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    ' javascript:x',
    '//x.y',
    'file:///etc',
  ]) {
    assert.ok(!inline(`[a](${bad}) <${bad}>`).includes('<a '), bad);
  }
});

test('a document cut anywhere is the same as the whole', () => {
  const whole = render(DOCUMENT);
  for (let cut = 0; cut <= DOCUMENT.length; cut++) {
    const markdown = new Markdown();
    markdown.append(DOCUMENT.slice(0, cut));
    markdown.append(DOCUMENT.slice(cut));
    markdown.end();
    assert.equal(html(markdown.root), whole, `cut at ${cut}`);
  }
});

test('character by character is the same as the whole, for text and for noise', () => {
  const next = random(7);
  for (let round = 0; round < 400; round++) {
    const text = round ? noise(next) : DOCUMENT;
    const markdown = new Markdown();
    for (const char of text) markdown.append(char);
    markdown.end();
    assert.equal(html(markdown.root), render(text), JSON.stringify(text));
  }
});

test('a growing paragraph ends as the whole one, and what was finished stays', () => {
  const next = random(11);
  for (let round = 0; round < 3000; round++) {
    const text = round ? noise(next).replaceAll('\n\n', ' ') : DOCUMENT.replaceAll('\n', ' ');
    const growing = new IncrementalInline();
    /** @type {Inline[]} */ const nodes = [];
    for (let end = 1; end < text.length; end += 1 + Math.floor(next() * 6))
      nodes.push(...growing.update(text.slice(0, end), false).finished);
    nodes.push(...growing.update(text, true).finished);
    assert.equal(flat(nodes), flat(parseInline(text, true).nodes), JSON.stringify(text));
  }
});

test('while it grows, unfinished marks are shown as what they will become', () => {
  /** @param {string} text */
  const open = (text) => flat(parseInline(text, false).nodes);
  assert.equal(open('a **bol'), 'a <strong>bol</strong>');
  assert.equal(open('a **bold*'), 'a <strong>bold</strong>');
  assert.equal(open('a `co'), 'a <code>co</code>');
  assert.equal(open('a *'), 'a ');
  assert.equal(open('see [the docs](https://exam'), 'see the docs');
  const markdown = new Markdown();
  markdown.append('text\n\n| a | b |\n|--');
  assert.equal(markdown.root.children[1].type, 'table');
  markdown.append('-|---|\n| 1 |');
  assert.deepEqual(markdown.root.children[1].children[1].cells, ['1', '']);
  markdown.append(' 2 |\n\n-');
  assert.equal(markdown.root.children.length, 2, 'a lone dash waits');
});

test('maths is shown as it is written: nothing in it is emphasis, a list or a price', () => {
  assert.equal(inline('so \\(a_1 * b_1 * c\\) and \\[x^2\\]'), 'so <var>a_1 * b_1 * c</var> and <var>x^2</var>');
  assert.equal(inline('$$\\int_0^1 *f* dx$$ is $E = mc^2$'), '<var>\\int_0^1 *f* dx</var> is <var>E = mc^2</var>');
  assert.equal(inline('from $5 to $10, or 5$ (US$) and $x$'), 'from $5 to $10, or 5$ (US$) and <var>x</var>');
  assert.equal(inline('open \\(a and $b^2'), 'open \\(a and $b^2');
  const markdown = new Markdown();
  markdown.append('text\n$$\na\n- b\n+ c\n$$\nafter\n\\[\n\\frac{a}{b}\n= 1 \\]\n\nend');
  markdown.end();
  const shown = markdown.root.children.map(({ type, text }) => `${type}: ${text}`);
  assert.deepEqual(shown, ['text: text', 'code: a\n- b\n+ c\n', 'text: after', 'code: \\frac{a}{b}\n= 1 ', 'text: end']);
});

test('finished blocks are done, and only the open end is not', () => {
  const markdown = new Markdown();
  markdown.append('one\n\n- a\n- b\n\n```\ncode');
  assert.deepEqual(
    markdown.root.children.map((node) => node.done),
    [true, true, false],
  );
  markdown.append('\n```\n\nlast');
  assert.deepEqual(
    markdown.root.children.map((node) => node.done),
    [true, true, true, false],
  );
});

test('quotes nested 500 deep stop at the limit', () => {
  let depth = 0;
  const markdown = new Markdown();
  markdown.append(`${'>'.repeat(500)} deep\n${'- '.repeat(500)}x`);
  markdown.end();
  for (let node = markdown.root; node.children.length; node = node.children[0]) depth++;
  assert.ok(depth <= DEEPEST + 1, `${depth}`);
});

test('the cost is linear: a megabyte in one line, of stars, of brackets, of backticks, of code', () => {
  const size = 1_000_000;
  const hostile = {
    words: 'word '.repeat(size / 5),
    letters: 'x'.repeat(size),
    stars: '*a **b '.repeat(size / 7),
    brackets: '[a](b '.repeat(size / 6),
    backticks: '`a ``b ```c '.repeat(size / 12),
    dollars: '$a^2 $$b \\(c '.repeat(size / 13),
    formulas: '\\(a '.repeat(size / 4),
    urls: 'https://a.b/c<'.repeat(size / 14),
    rows: `| a | b |\n|---|---|\n${'| c | d |\n'.repeat(size / 10)}`,
    lists: '- item\n'.repeat(size / 7),
    code: `\`\`\`\n${'line of code\n'.repeat(size / 13)}`,
  };
  for (const [name, text] of Object.entries(hostile)) {
    const began = process.cpuUsage();
    const markdown = new Markdown();
    const growing = new IncrementalInline();
    const step = 4000; // as a fast stream brings it, frame by frame
    for (let at = 0; at < text.length; at += step) {
      markdown.append(text.slice(at, at + step));
      const [first] = markdown.root.children;
      if (first.type === 'text') growing.update(first.text, false);
    }
    markdown.end();
    // The processor's time, not the clock's: others may use the machine. Squares would take a minute.
    const took = process.cpuUsage(began).user / 1000;
    assert.ok(took < 20_000, `${name} took ${Math.round(took)} ms`);
  }
});
