// Compares our tokenizer with the reference (the Rust library behind @anush008/tokenizers) on generated texts: ids
// without and with special tokens, and the decoded text with and without special tokens. ctest runs it, label `npm`
// and, with `-C full`, `npm-full`; by hand:
//   tests/support/npm.sh . build/release text_differential node $PWD/tests/text_differential/differential.mjs \
//        [--count=10000] [--seed=1] [--speed] FILE...
// FILE is a tokenizer.json, or the name NAME of a package @lenml/tokenizer-NAME that is installed. Prints each
// difference as JSON; exit code 1 if there is one at all (Trinity's tokenizers, those of the models that are served) or
// more than one in 10,000 (others), 77 if FILE is not there.
// --speed instead encodes this tree's own sources and documents, then generated texts, with both, on one thread each,
// and prints megabytes per second of processor time; exit code 1 if the reference is more than half as fast as we are.
import {execFileSync, spawn} from 'node:child_process';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import os from 'node:os';
import path from 'node:path';
import {generator, makeTexts} from './texts.mjs';

const {Tokenizer} = createRequire(process.cwd() + '/')('@anush008/tokenizers');
const ours = path.join(process.env.TESSERA_BIN, 'text_differential');

const options = {count: '10000', seed: '1', speed: ''};
const files = [];
for (const arg of process.argv.slice(2)) {
  const match = /^--(\w+)(?:=(.*))?$/.exec(arg);
  if (match && match[1] in options) options[match[1]] = match[2] ?? 'yes';
  else if (match) throw new Error(`no such option: ${arg}`);
  else files.push(arg.includes('/') ? arg : `node_modules/@lenml/tokenizer-${arg}/models/tokenizer.json`);
}

const mustBeEqual = (file) => /trinity/i.test(file);

function runOurs(args, lines) {
  return new Promise((resolve, reject) => {
    const child = spawn(ours, ['tokenize', ...args], {stdio: ['pipe', 'pipe', 'inherit']});
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.on('close', (code) => {
      if (code !== 0) reject(new Error(`our side ended with ${code}`));
      else resolve(Buffer.concat(chunks).toString('utf8').split('\n').slice(0, -1).map((s) => JSON.parse(s)));
    });
    child.stdin.end(lines.map((s) => s + '\n').join(''));
  });
}

// What the reference answers. An answer of its threads was seen to get lost: it is asked again, and that is said.
async function answered(ask) {
  for (;;) {
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, 20000, undefined); });
    const answer = await Promise.race([ask(), late]);
    clearTimeout(timer);
    if (answer !== undefined) return answer;
    console.log('the reference did not answer within 20 s; asking again');
  }
}

async function compare(file) {
  const content = JSON.parse(fs.readFileSync(file, 'utf8'));
  const texts = makeTexts(
      generator(Number(options.seed)), (content.added_tokens ?? []).map((t) => t.content), Number(options.count));
  const reference = Tokenizer.fromFile(file);
  const flag = `--tokenizer=${file}`;
  const strings = texts.map((text) => JSON.stringify(text));
  const plain = await runOurs([flag], strings);
  const special = await runOurs([flag, '--add_special_tokens'], strings);
  const arrays = special.map((ids) => JSON.stringify(ids));
  const decoded = await runOurs([flag, '--decode'], arrays);
  const skipped = await runOurs([flag, '--decode', '--skip_special_tokens'], arrays);
  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  let differences = 0;
  for (let i = 0; i < texts.length; i++) {
    const encoded = (addSpecialTokens) => answered(() => reference.encode(texts[i], null, {addSpecialTokens}));
    const wanted = (await encoded(false)).getIds();
    const wantedSpecial = (await encoded(true)).getIds();
    const wantedText = await answered(() => reference.decode(special[i], false));
    const wantedSkipped = await answered(() => reference.decode(special[i], true));
    const bad = [];
    if (!same(wanted, plain[i])) bad.push({ids: plain[i], wanted});
    if (!same(wantedSpecial, special[i])) bad.push({special: special[i], wanted: wantedSpecial});
    if (decoded[i] !== wantedText) bad.push({decoded: decoded[i], wanted: wantedText});
    if (skipped[i] !== wantedSkipped) bad.push({skipped: skipped[i], wanted: wantedSkipped});
    if (bad.length === 0) continue;
    if (++differences <= 20) console.log(JSON.stringify({text: texts[i], bad}).slice(0, 3000));
  }
  console.log(`${file}: ${texts.length} texts of seed ${options.seed}, ${differences} differences`);
  return differences;
}

// What this project says itself, in English and C++: some 400 KB.
function ownTexts() {
  const texts = [];
  let bytes = 0;
  for (const entry of fs.readdirSync(process.env.TESSERA_SOURCES, {recursive: true}).sort()) {
    if (bytes > 4e5 || /^(\.|build\/)/.test(entry) || !/\.(md|cc|h|proto)$/.test(entry)) continue;
    texts.push(fs.readFileSync(path.join(process.env.TESSERA_SOURCES, entry), 'utf8'));
    bytes += Buffer.byteLength(texts.at(-1));
  }
  return texts;
}

const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

async function measure(file, what, texts) {
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const reference = Tokenizer.fromFile(file);
  const rates = [];
  for (let round = 0; round < 3; round++) {
    const begin = process.cpuUsage();  // processor time: other programs on the machine do not count
    for (const text of texts) await reference.encode(text, null, {addSpecialTokens: false});
    const used = process.cpuUsage(begin);
    rates.push(bytes / (used.user + used.system));
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tessera-speed-'));
  fs.writeFileSync(path.join(folder, 'texts'), texts.join('\0'));
  const {first, median: warm} = JSON.parse(execFileSync(ours, ['bench', file, path.join(folder, 'texts')]));
  fs.rmSync(folder, {recursive: true});
  const theirs = median(rates);
  console.log(`${file}: ${what}, ${(bytes / 1e6).toFixed(2)} MB: ${warm.toFixed(1)} MB/s (${first.toFixed(1)} in the ` +
    `first round), reference ${theirs.toFixed(2)} MB/s, ratio ${(warm / theirs).toFixed(1)}`);
  return warm / theirs;
}

async function speed(file) {
  const generated = makeTexts(generator(Number(options.seed)), [], 4000).map((text) => text.replaceAll('\0', ' '));
  const ratios = [await measure(file, 'sources and documents', ownTexts()), await measure(file, 'generated', generated)];
  return Math.min(...ratios);
}

let failed = false;
for (const file of files) {
  if (!fs.existsSync(file)) {
    console.error(`SKIPPED: there is no ${file}`);
    process.exit(77);
  }
  if (options.speed) failed = (await speed(file)) < 2 || failed;
  else failed = (await compare(file)) * 10000 > (mustBeEqual(file) ? 0 : Number(options.count)) || failed;
}
process.exit(failed ? 1 : 0);
