// Texts that tokenizers may stumble over, from a seed.

// mulberry32: small, seeded, good enough to pick characters.
export function generator(seed) {
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

export function makeTexts(random, added, count) {
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
    () => String.fromCharCode(0xd800 + integer(0x800)),  // half of a character, escaped as \ud8.. on its way to us
  ];
  const texts = [];
  for (let i = 0; i < count; i++) {
    let text = '';
    for (let n = 1 + integer(i % 10 === 0 ? 40 : 8); n > 0; n--) text += pick(parts)();
    if (i % 500 === 499) text = inRange(pick(ranges)).repeat(500 + integer(3000));
    if (i % 500 === 498) text = '1234567890'.repeat(100 + integer(200)).slice(integer(10));
    texts.push(text);
  }
  return texts;
}
