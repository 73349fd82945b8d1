// npm runs this before and after it packs. The code lives in tickertape's page, where it is used and tested; the
// package gets the modules that its entry points lead to, copied for as long as packing takes.
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';

const PAGE = new URL('../../src/tickertape/page/', import.meta.url);
const LIB = new URL('lib/', import.meta.url);
const LICENSE = new URL('LICENSE', import.meta.url);

rmSync(LIB, { recursive: true, force: true });
rmSync(LICENSE, { force: true });
if (!process.argv.includes('--clean')) {
  mkdirSync(LIB);
  copyFileSync(new URL('../../LICENSE', import.meta.url), LICENSE);
  const entries = readFileSync(new URL('index.js', import.meta.url), 'utf8').matchAll(/from '\.\/lib\/([\w-]+\.js)'/g);
  const wanted = new Set(Array.from(entries, ([, name]) => name));
  // A set grows while it is walked: what a module imports is walked in its turn.
  for (const name of wanted) {
    const code = readFileSync(new URL(name, PAGE), 'utf8');
    for (const [, imported] of code.matchAll(/^import .* from '\.\/([\w-]+\.js)'/gm)) wanted.add(imported);
    copyFileSync(new URL(name, PAGE), new URL(name, LIB));
  }
}
