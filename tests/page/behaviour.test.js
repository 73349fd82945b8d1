// @ts-check
/** page/event-source.js: the behaviour scenarios, against a real server: strict ones to the letter, others where they agree. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ResumableEventSource } from '../../src/tickertape/page/event-source.js';
import { behaviourScenarios } from './support/cases.js';
import { DIFFERS, judged } from './support/follow.js';
import { serveScenarios } from './support/scenarios.js';

const scenarios = behaviourScenarios();

describe('behaviour scenarios', { skip: scenarios ? false : 'they lie beside the checkout', concurrency: true }, () => {
  /** @type {Awaited<ReturnType<typeof serveScenarios>>} */ let server;
  before(async () => {
    server = await serveScenarios(scenarios ?? []);
  });
  after(() => server.close());

  for (const [index, scenario] of (scenarios ?? []).entries()) {
    for (const strict of [true, false]) {
      if (!strict && scenario.name === DIFFERS) continue;
      test(`${scenario.name}${strict ? ', strict' : ''}`, async () => {
        const open = (/** @type {string} */ path) => new ResumableEventSource(server.origin + path, { strict });
        assert.deepEqual(await judged(scenario, `/${index}?${strict}`, open, server.log), []);
      });
    }
  }

  test('a 503 on a reconnect is waited out unless strict', async () => {
    const index = (scenarios ?? []).findIndex(({ name }) => name === DIFFERS);
    const source = new ResumableEventSource(`${server.origin}/${index}?out`);
    const reasons = await new Promise((resolve) => {
      /** @type {string[]} */ const seen = [];
      source.onerror = (/** @type {any} */ { reason, status }) => {
        seen.push(`${reason} ${status} ${source.readyState}`);
        if (seen.length === 3) resolve(seen);
      };
    });
    source.close();
    assert.deepEqual(reasons, ['ended null 0', 'status 503 0', 'status 503 0']);
  });
});
