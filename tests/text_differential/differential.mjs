// Compares our tokenizer with the reference (the Rust library behind @anush008/tokenizers) on generated texts:
//   npm install @anush008/tokenizers@0.6.0
//   node differential.mjs --ours=build/release/bin/text_differential [--count=10000] [--seed=1] [--bench=FILE] \
//        TOKENIZER.json...
// Compares ids without and with special tokens, and the decoded text with and without special tokens, and prints
// each difference as JSON. Exit code 1 if there is one. --bench instead measures the reference's speed on the texts
// of FILE (separated by NUL), to be put beside `text_differential bench`.
import {spawn} from 'node:child_process';
import fs from 'node:fs';
import {createRequire} from 'node:module';

const {Tokenizer} = createRequire(process.cwd() + '/')('@anush008/tokenizers');

const options = {count: '10000', seed: '1', ours: '', bench: ''};
const files = [];
for (const arg of process.argv.slice(2)) {
  const match = /^--(\w+)=(.*)$/.exec(arg);
  if (match && match[1] in options) options[match[1]] = match[2];
  else files.push(arg);
}

// mulberry32: small, seeded, good enough to pick characters.
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ranges = [  // scripts, symbols, and the corners of the code space
  [0x20, 0x7e], [0x20, 0x7e], [0x61, 0x7a], [0x30, 0x39], [0, 0x1f], [0x7f, 0xff], [0x100, 0x24f], [0x250, 0x36f],
  [0x300, 0x36f], [0x370, 0x3ff], [0x400, 0x52f], [0x530, 0x58f], [0x590, 0x5ff], [0x600, 0x6ff], [0x700, 0x8ff],
  [0x900, 0x97f], [0x980, 0xdff], [0xe00, 0xe7f], [0xe80, 0xeff], [0xf00, 0xfff], [0x1000, 0x109f], [0x10a0, 0x10ff],
  [0x1100, 0x11ff], [0x1200, 0x139f], [0x13a0, 0x167f], [0x1680, 0x177f], [0x1780, 0x17ff], [0x1800, 0x1aaf],
  [0x1ab0, 0x1aff], [0x1b00, 0x1dff], [0x1e00, 0x1fff], [0x2000, 0x206f], [0x2070, 0x218f], [0x2190, 0x2bff],
  [0x2c00, 0x2fff], [0x3000, 0x30ff], [0x3100, 0x33ff], [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xa000, 0xabff],
  [0xac00, 0xd7ff], [0xe000, 0xf8ff], [0xf900, 0xfaff], [0xfb00, 0xfdff], [0xfe00, 0xffff], [0x10000, 0x107ff],
  [0x10800, 0x10fff], [0x11000, 0x11fff], [0x12000, 0x16fff], [0x17000, 0x1bfff], [0x1c000, 0x1dfff],
  [0x1e000, 0x1efff], [0x1f000, 0x1faff], [0x20000, 0x323af], [0xe0000, 0xe01ef], [0x100000, 0x10ffff], [0, 0x10ffff],
];
const words = [
  'the', 'Hello', "don't", "I'LL", "we've", 'naïve', 'x_y', 'CamelCase', 'https://example.com/a?b=c&d=1', '3.14', '1e-9',
  'int main() {', '};', '\n', '\r\n', '\n\n', '  ', '    ', '\t', ' ', '...', '!!!', '---', '=>', '/*', '日本語', 'お疲れ様',
  'Привет', 'مرحبا', 'नमस्ते', 'สวัสดี', '한국어', '👍🏽', '👨‍👩‍👧‍👦', '🇩🇪', 'é', 'ﬁ', '①', '½', '²', '٣٤٥', '१२३४', '１２３',
  '\u00a0', '\u3000', '\u180e', '\u200b', '\u2028', '\u0085', '\ufeff', 'ſ', "'ſ", 'K', 'İ', 'ß', '\u0301', '▁', '▁▁', '<0x41>', 'Ġ',
];

function makeTexts(random, added) {
  const integer = (n) => Math.floor(random() * n);
  const pick = (list) => list[integer(list.length)];
  const inRange = ([low, high]) => {
    const c = low + integer(high - low + 1);
    return c >= 0xd800 && c <= 0xdfff ? '\ufffd' : String.fromCodePoint(c);
  };
  const parts = [
    () => pick(words),
    () => pick(words) + ' ',
    () => ' ' + pick(words),
    () => { const r = pick(ranges); return Array.from({length: 1 + integer(12)}, () => inRange(r)).join(''); },
    () => Array.from({length: 1 + integer(6)}, () => inRange(pick(ranges))).join(''),
    () => pick(['0', '7', '٣', '９', 'a', ' ', '\n', 'é', '日', '\u0301', '!', '½']).repeat(1 + integer(40)),
    () => String(integer(2 ** 31)).repeat(1 + integer(3)),
    () => (added.length ? pick(added) : ''),
    () => inRange([0xd800, 0xdfff]),
  ];
  const texts = [];
  for (let i = 0; i < Number(options.count); i++) {
    let text = '';
    for (let n = 1 + integer(i % 10 === 0 ? 40 : 8); n > 0; n--) text += pick(parts)();
    if (i % 500 === 499) text = inRange(pick(ranges)).repeat(500 + integer(3000));
    if (i % 500 === 498) text = '1234567890'.repeat(100 + integer(200)).slice(integer(10));
    texts.push(text);
  }
  return texts;
}

function runOurs(args, lines) {
  return new Promise((resolve, reject) => {
    const child = spawn(options.ours, ['tokenize', ...args], {stdio: ['pipe', 'pipe', 'inherit']});
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.on('close', (code) => {
      if (code !== 0) reject(new Error(`our side ended with ${code}`));
      else resolve(Buffer.concat(chunks).toString('utf8').split('\n').slice(0, -1).map((s) => JSON.parse(s)));
    });
    child.stdin.end(lines.map((s) => s + '\n').join(''));
  });
}

async function compare(file) {
  const content = JSON.parse(fs.readFileSync(file, 'utf8'));
  const texts = makeTexts(generator(Number(options.seed)), (content.added_tokens ?? []).map((t) => t.content));
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
    const wanted = (await reference.encode(texts[i], null, {addSpecialTokens: false})).getIds();
    const wantedSpecial = (await reference.encode(texts[i], null, {addSpecialTokens: true})).getIds();
    const wantedText = await reference.decode(special[i], false);
    const wantedSkipped = await reference.decode(special[i], true);
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

async function bench(file) {
  const reference = Tokenizer.fromFile(file);
  const texts = fs.readFileSync(options.bench, 'utf8').split('\0');
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const rates = [];
  for (let round = 0; round < 5; round++) {
    const begin = process.cpuUsage();  // processor time: other programs on the machine do not count
    for (const text of texts) await reference.encode(text, null, {addSpecialTokens: false});
    const used = process.cpuUsage(begin);
    rates.push(bytes / (used.user + used.system));
  }
  rates.sort((a, b) => a - b);
  console.log(`${file}: reference median ${rates[2].toFixed(2)} MB/s, best ${rates[4].toFixed(2)} MB/s`);
}

let failed = false;
for (const file of files) {
  if (options.bench) await bench(file);
  else failed = (await compare(file)) > 0 || failed;
}
process.exit(failed ? 1 : 0);
