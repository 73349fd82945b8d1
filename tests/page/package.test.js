// @ts-check
/** clients/js: `npm pack` makes a package that imports, types and documents itself, and leaves no copy behind. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CLIENT = fileURLToPath(new URL('../../clients/js/', import.meta.url));
const PAGE = fileURLToPath(new URL('../../src/tickertape/page/', import.meta.url));
const INIT = fileURLToPath(new URL('../../src/tickertape/__init__.py', import.meta.url));
const manifest = JSON.parse(readFileSync(join(CLIENT, 'package.json'), 'utf8'));
const noNpm = spawnSync('npm', ['--version']).status === 0 ? false : 'npm is not installed';

/** @param {string} file the names after `export` in a module or its types */
function exportedNames(file) {
  const text = readFileSync(file, 'utf8');
  const lists = [...text.matchAll(/^export (?!type)\{(.*?)\}/gms)].flatMap(([, names]) => names.split(',').map((name) => name.trim()));
  const declared = [...text.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, name]) => name);
  return new Set([...lists, ...declared].filter(Boolean));
}

test('the version is that of the Python package', () => {
  assert.equal(manifest.version, (/__version__ = "(.*)"/.exec(readFileSync(INIT, 'utf8')) ?? [])[1]);
});

test('the types name what the modules export', () => {
  assert.deepEqual(exportedNames(join(CLIENT, 'index.d.ts')), exportedNames(join(CLIENT, 'index.js')));
  assert.deepEqual(exportedNames(join(CLIENT, 'sse.d.ts')), exportedNames(join(PAGE, 'sse.js')));
});

describe('the packed package', { skip: noNpm }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tickertape-js-'));
  const home = join(folder, 'node_modules', 'tickertape');

  /** @param {string} script a module of somebody who depends on the package */
  const run = (script) => execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: folder, encoding: 'utf8' });

  before(() => {
    const npm = ['pack', '--json', '--ignore-scripts=false', '--pack-destination', folder, '--cache', join(folder, 'cache')];
    const [{ filename }] = JSON.parse(execFileSync('npm', npm, { cwd: CLIENT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    mkdirSync(home, { recursive: true });
    execFileSync('tar', ['-xzf', join(folder, filename), '-C', home, '--strip-components=1']);
  });
  after(() => rmSync(folder, { recursive: true }));

  test('holds the entry points, the modules they need, the licence, and nothing else', () => {
    assert.deepEqual(readdirSync(home).sort(), ['LICENSE', 'README.md', 'index.d.ts', 'index.js', 'lib', 'package.json', 'sse.d.ts']);
    for (const name of readdirSync(join(home, 'lib'))) {
      assert.equal(readFileSync(join(home, 'lib', name), 'utf8'), readFileSync(join(PAGE, name), 'utf8'), `${name} is the page's own`);
    }
    assert.deepEqual(readdirSync(join(home, 'lib')).sort(), ['event-source.js', 'reconnect.js', 'sse.js']);
  });

  test('leaves no copy of the code in the checkout', () => {
    assert.equal(existsSync(join(CLIENT, 'lib')), false);
    assert.equal(existsSync(join(CLIENT, 'LICENSE')), false);
  });

  test('imports by both of its names', () => {
    const names = run("console.log(Object.keys(await import('tickertape')).sort().join()); await import('tickertape/sse')");
    assert.equal(names.trim(), [...exportedNames(join(CLIENT, 'index.js'))].sort().join());
  });

  test('does what its README shows', () => {
    const [answer, decoder] = [...readFileSync(join(home, 'README.md'), 'utf8').matchAll(/^```js\n(.*?)```/gms)].map(([, code]) => code);
    const body = ['{"choices":[{"delta":{"content":"Hi"}}]}', '{"choices":[{"delta":{}}]}', '[DONE]'].map((data) => `data: ${data}\\n\\n`).join('');
    const world = `
      let text = '';
      Object.assign(globalThis, {
        location: { href: 'http://a.test/' },
        document: Object.assign(new EventTarget(), { body: { append: (more) => (text += more) } }),
        fetch: async () => new Response('${body}', { headers: { 'Content-Type': 'text/event-stream' } }),
      });`;
    const wait = "await new Promise((resolve) => answer.addEventListener('message', ({ data }) => data === '[DONE]' && resolve()));";
    assert.equal(run(`${world} ${answer} ${wait} console.log(text, answer.readyState);`), 'Hi 2\n');
    assert.equal(run(`const response = new Response('id: 7\\ndata: x\\n\\n'); ${decoder}`), 'message 7 x\n');
  });
});
