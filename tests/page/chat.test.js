// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat, message, newId, titleOf } from '../../src/tickertape/page/chat.js';

/** @import { Message } from '../../src/tickertape/page/chat.js' */

/** The path that is shown, in texts. @param {Chat} chat */
const shown = (chat) => chat.path.map(({ text }) => text);

/** A server's conversation with these messages. @param {Chat} chat @param {Partial<Message>[]} messages @param {string} [current] */
function conversation(chat, messages, current) {
  const mapping = Object.fromEntries(
    messages.map(({ id = '', parent = null, role = 'assistant', text = '', state = 'completed', stream, at = 0 }) => [
      id,
      {
        id,
        parent,
        children: [],
        message: {
          author: { role },
          content: { parts: [text] },
          create_time: at / 1000,
          state: /** @type {any} */ (state),
          streams: stream ? [stream] : [],
        },
      },
    ]),
  );
  const current_node = current ?? messages.at(-1)?.id ?? null;
  return { id: chat.id, title: 'Title', update_time: 7, model: 'm', system: null, current_node, mapping };
}

test('a conversation is a tree: editing and asking again keep what was there', () => {
  const chat = new Chat();
  const first = chat.ask('one', null);
  Object.assign(first.answer, { text: 'first', state: 'completed' });
  const second = chat.ask('two', chat.info.leaf);
  assert.deepEqual(shown(chat), ['one', 'first', 'two', '']);
  const edited = chat.ask('two, better', first.answer.id);
  edited.question.at = second.question.at + 1;
  assert.deepEqual(shown(chat), ['one', 'first', 'two, better', '']);
  assert.deepEqual(chat.siblings(edited.question), [second.question, edited.question]);
  chat.show(second.question);
  assert.equal(chat.last, second.answer);
  chat.answer(first.question, 'variant');
  assert.equal(chat.siblings(first.answer).length, 2);
});

test('a question is asked by its place alone: the server knows what was said before', () => {
  const chat = new Chat();
  const { question, answer } = chat.ask('one', null);
  const asked = { conversation_id: chat.id, message_id: answer.id };
  const words = [{ id: question.id, role: 'user', content: 'one' }];
  assert.deepEqual(chat.request(answer), { ...asked, action: 'next', parent_message_id: null, messages: words });
  chat.info.model = 'm';
  const other = chat.answer(question, 'variant');
  const again = { action: 'variant', conversation_id: chat.id, message_id: other.id, parent_message_id: question.id };
  assert.deepEqual(chat.request(other), { ...again, model: 'm' });
  Object.assign(other, { action: 'continue', model: '' });
  const on = { action: 'continue', conversation_id: chat.id, parent_message_id: other.id };
  assert.deepEqual(chat.request(other), on);
});

test('what the server has is taken in place, and what it has not got yet stays', () => {
  const chat = new Chat();
  const { question, answer } = chat.ask('one', null);
  Object.assign(answer, { state: 'running', stream: 's', text: 'half', count: 3 });
  const unsent = chat.ask('two', answer.id);
  Object.assign(unsent.answer, { state: 'unsent' });
  const whole = { ...answer, text: 'half and half', state: /** @type {const} */ ('completed') };
  chat.take(conversation(chat, [question, whole]), null, true);
  assert.deepEqual([answer.text, answer.state], ['half and half', 'completed']);
  assert.deepEqual(shown(chat), ['one', 'half and half', 'two', '']);
  assert.deepEqual([chat.info.title, chat.info.local], ['Title', false]);
  Object.assign(unsent.answer, { state: 'completed' });
  chat.take(conversation(chat, [question, whole]), null, false);
  assert.deepEqual(shown(chat), ['one', 'half and half'], 'what was deleted there is gone here');
});

test('an answer that is being read here is left to its reader', () => {
  const chat = new Chat();
  const { question, answer } = chat.ask('one', null);
  Object.assign(answer, { state: 'running', stream: 's', text: 'word', count: 3, cursor: 's.3' });
  chat.take(conversation(chat, [question, { ...answer, text: '' }]), answer, true);
  assert.deepEqual([answer.text, answer.cursor], ['word', 's.3']);
  chat.take(conversation(chat, [question, { ...answer, text: '' }]), null, true);
  assert.deepEqual([answer.text, answer.cursor], ['word', 's.3'], 'the same stream, read so far');
  chat.take(conversation(chat, [question, { ...answer, text: 'settled', stream: 't' }]), null, true);
  assert.deepEqual([answer.text, answer.base, answer.count, answer.cursor], ['settled', 7, 0, '']);
});

test('a stream that was not there yet is read again when the server says that it runs', () => {
  const chat = new Chat();
  const { question, answer } = chat.ask('one', null);
  Object.assign(answer, { state: 'gone', stream: 's' });
  chat.take(conversation(chat, [question, { ...answer, state: 'running' }]), null, true);
  assert.deepEqual([answer.state, answer.stream], ['running', 's']);
});

test('what was asked elsewhere is followed, a branch that was turned to here is not left', () => {
  const chat = new Chat();
  const { question, answer } = chat.ask('one', null);
  Object.assign(answer, { text: 'first', state: 'completed' });
  const next = message({ id: newId(), chat: chat.id, parent: answer.id, role: 'user', text: 'elsewhere', at: answer.at + 1 });
  chat.take(conversation(chat, [question, answer, next]), null, false);
  assert.deepEqual(shown(chat), ['one', 'first']);
  chat.take(conversation(chat, [question, answer, next]), null, true);
  assert.deepEqual(shown(chat), ['one', 'first', 'elsewhere']);
});

test('titles are the first words', () => {
  assert.equal(titleOf('  # What is a ticker?\nmore'), 'What is a ticker?');
  assert.equal(titleOf('word '.repeat(40)), `${'word '.repeat(12).trim()}…`);
  assert.equal(titleOf(''), 'Untitled');
});
