// Measures the Unicode behaviour of the reference (the Rust library `tokenizers` behind the npm
// package @anush008/tokenizers) over all code points and prints it as JSON:
//   npm install @anush008/tokenizers@0.6.0 && node measure_reference.mjs > reference.json
// make_unicode_tables.py turns that into common/text/unicode_tables_*.cc.
import {createRequire} from 'node:module';

const {Tokenizer} = createRequire(process.cwd() + '/')('@anush008/tokenizers');

const skeleton = {
  version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null,
  pre_tokenizer: null, post_processor: null, decoder: null,
  model: {
    type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null,
    end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab: {a: 0}, merges: [],
  },
};
const normalizer = (spec) =>
    Tokenizer.fromString(JSON.stringify({...skeleton, normalizer: spec})).getNormalizer();
const preTokenizer = (spec) =>
    Tokenizer.fromString(JSON.stringify({...skeleton, pre_tokenizer: spec})).getPreTokenizer();

const codePoints = [];
for (let c = 0; c < 0x110000; c++) {
  if (c < 0xd800 || c > 0xdfff) codePoints.push(c);
}
const everything = codePoints.map((c) => String.fromCodePoint(c)).join('');

// Code points that a regular expression matches alone: those that vanish when it is replaced by nothing.
function matched(regex) {
  const rest = normalizer({type: 'Replace', pattern: {Regex: regex}, content: ''});
  const left = new Set();
  for (const ch of rest.normalizeString(everything)) left.add(ch.codePointAt(0));
  return codePoints.filter((c) => !left.has(c));
}

// Code points that a pre-tokenizer isolates between two letters.
function isolated(spec) {
  const pieces = preTokenizer(spec);
  const result = [];
  for (let i = 0; i < codePoints.length; i += 4096) {
    const text = codePoints.slice(i, i + 4096).map((c) => `x${String.fromCodePoint(c)}x`).join('');
    for (const [piece] of pieces.preTokenizeString(text)) {
      const chars = [...piece];
      if (chars.length === 1 && piece !== 'x') result.push(chars[0].codePointAt(0));
    }
  }
  return result;
}

function mapping(form) {
  const map = normalizer({type: form});
  const result = {};
  for (const c of codePoints) {
    const from = String.fromCodePoint(c);
    const to = map.normalizeString(from);
    if (to !== from) result[c] = [...to].map((ch) => ch.codePointAt(0));
  }
  return result;
}

const categories = {};
for (const name of ['Lu', 'Ll', 'Lt', 'Lm', 'Lo', 'Mn', 'Mc', 'Me', 'Nd', 'Nl', 'No', 'Pc', 'Pd', 'Ps',
                    'Pe', 'Pi', 'Pf', 'Po', 'Sm', 'Sc', 'Sk', 'So', 'Zs', 'Zl', 'Zp', 'Cc', 'Cf', 'Co']) {
  categories[name] = matched(`\\p{${name}}`);
}
process.stdout.write(JSON.stringify({
  categories,
  word: matched('\\w'),
  space: matched('\\s'),
  numeric: isolated({type: 'Digits', individual_digits: true}),
  punctuation: isolated({type: 'Punctuation', behavior: 'Isolated'}),
  lowercase: mapping('Lowercase'),
  accents: Object.keys(mapping('StripAccents')).map(Number),
  NFC: mapping('NFC'), NFD: mapping('NFD'), NFKC: mapping('NFKC'), NFKD: mapping('NFKD'),
}));
