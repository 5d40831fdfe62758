// DER (ITU-T X.690) as far as certificates, requests and revocation lists need it: written whole, read strictly.
// Invariants: reading takes only definite, shortest lengths and one-byte tags, and never looks beyond its bytes.
// Hand-written because the package that did this cost the security process 24 MB and a quarter of a second of silence.

export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OBJECT_IDENTIFIER: 0x06,
  ENUMERATED: 0x0a,
  UTF8_STRING: 0x0c,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** UTCTime has two digits for the year and ends with 2049 (RFC 5280 section 4.1.2.5). */
const UTC_TIME_YEAR_MAX = 2049;

export function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag]), lengthBytes(body.length), body]);
}

export function sequence(...members: readonly Uint8Array[]): Buffer {
  return element(Tag.SEQUENCE, ...members);
}

/** `[number]` around a whole element. */
export function explicit(number: number, ...content: readonly Uint8Array[]): Buffer {
  return element(0xa0 | number, ...content);
}

/** `[number]` in place of a primitive element's own tag. */
export function implicit(number: number, content: Uint8Array): Buffer {
  return element(0x80 | number, content);
}

/** Of unsigned bytes, the most significant first. */
export function integer(unsigned: Uint8Array): Buffer {
  let start = 0;
  while (start < unsigned.length - 1 && unsigned[start] === 0) start += 1;
  const digits = unsigned.subarray(start);
  const sign = (digits[0] ?? 0) >= 0x80 || digits.length === 0 ? [0] : [];
  return element(Tag.INTEGER, Buffer.from(sign), digits);
}

export function wholeNumber(value: number): Buffer {
  const hex = value.toString(16);
  return integer(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
}

/** `1.2.840.10045.4.3.2` and the like. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
    return digits;
  });
  return element(Tag.OBJECT_IDENTIFIER, Buffer.from(bytes));
}

/** `unusedBits` of the last byte do not count. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return element(Tag.BIT_STRING, Buffer.from([unusedBits]), bytes);
}

export function time(wallMs: number): Buffer {
  const digits = new Date(wallMs).toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  return year <= UTC_TIME_YEAR_MAX
    ? element(Tag.UTC_TIME, Buffer.from(digits.slice(2)))
    : element(Tag.GENERALIZED_TIME, Buffer.from(digits));
}

export const TRUE = element(Tag.BOOLEAN, Buffer.from([0xff]));

function lengthBytes(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const hex = length.toString(16);
  const digits = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return Buffer.concat([Buffer.from([0x80 | digits.length]), digits]);
}

export interface DerElement {
  readonly tag: number;
  /** Tag, length and body. */
  readonly whole: Buffer;
  readonly body: Buffer;
}

/** What the bytes hold, one after the other; null when they are no DER. */
export function readElements(bytes: Buffer): readonly DerElement[] | null {
  const found: DerElement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const next = readElement(bytes, at);
    if (next === null) return null;
    found.push(next);
    at += next.whole.length;
  }
  return found;
}

/** The members of the one element of this tag that the bytes are; null when they are anything else. */
export function readMembers(tag: number, bytes: Buffer): readonly DerElement[] | null {
  const [only, ...more] = readElements(bytes) ?? [];
  return only === undefined || more.length > 0 || only.tag !== tag ? null : readElements(only.body);
}

function readElement(bytes: Buffer, at: number): DerElement | null {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return null;
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const digits = first & 0x7f;
    if (digits < 1 || digits > 3 || start + digits > bytes.length) return null;
    length = bytes.readUIntBE(start, digits);
    start += digits;
    // The shortest form alone, so that one value has one spelling.
    if (length < 0x80 || length < 2 ** (8 * (digits - 1))) return null;
  }
  const end = start + length;
  if (end > bytes.length) return null;
  return { tag, whole: bytes.subarray(at, end), body: bytes.subarray(start, end) };
}
