// Checks exports of the audit chain offline: only the files, a public key, and what was kept elsewhere.
// Invariants: constant memory, however long the export; a key that comes with the export itself proves nothing and is not taken.

import { createPublicKey, type KeyObject } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { describeError, type Fault, FaultError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { asCheckpoint, type SignedCheckpoint } from '#model/audit-checkpoint';
import { verifyExport } from '#model/audit-export';
import type { ChainVerdict } from '#model/audit-verifier';

export interface AuditCheckOptions {
  /** Public key of the chain, PEM. */
  readonly key?: string;
  /** Files of checkpoints, as `audit checkpoint --out` or a witness wrote them. */
  readonly checkpoint?: readonly string[];
}

/** A witness keeps one short line for each checkpoint; ten years of them are less. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;
const KEY_BYTES_MAX = 64 * 1024;
const GZIP_MAGIC = Buffer.from([0x1f, 0x8b]);

export async function checkExport(
  files: readonly string[],
  { key, checkpoint = [] }: AuditCheckOptions,
): Promise<Outcome<ChainVerdict>> {
  const publicKeys: KeyObject[] = [];
  const kept: SignedCheckpoint[] = [];
  try {
    if (key !== undefined) publicKeys.push(keyIn(key, await text(key, KEY_BYTES_MAX)));
    for (const path of checkpoint) {
      const found = keptIn(path, await text(path, KEPT_BYTES_MAX));
      kept.push(...found.checkpoints);
      publicKeys.push(...found.publicKeys);
    }
    if (publicKeys.length === 0) return refuse(noKey());
    return succeed(await verifyExport(bytesOf(files), { publicKeys, kept }));
  } catch (error) {
    if (error instanceof FaultError) return refuse(error.fault);
    throw error;
  }
}

async function* bytesOf(files: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const path of files) {
    try {
      const file = await open(path, 'r');
      const start = Buffer.alloc(GZIP_MAGIC.length);
      await file.read(start, 0, start.length, 0);
      const bytes = file.createReadStream({ start: 0 });
      if (!start.equals(GZIP_MAGIC)) yield* bytes;
      else {
        const unpacked = createGunzip();
        bytes.on('error', (error) => unpacked.destroy(error));
        yield* bytes.pipe(unpacked);
      }
    } catch (error) {
      throw new FaultError(unreadable(path, error));
    }
  }
}

async function text(path: string, bytesMax: number): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size <= bytesMax) return await readFile(path, 'utf8');
  } catch (error) {
    throw new FaultError(unreadable(path, error));
  }
  throw new FaultError(notWhatItIs(path, `is larger than ${bytesMax} bytes`));
}

function keyIn(path: string, pem: string): KeyObject {
  let key: KeyObject | undefined;
  try {
    // Of a private key the public one would be taken; nobody should get used to handing that about.
    if (!pem.includes('PRIVATE KEY')) key = createPublicKey(pem);
  } catch {
    // Said below.
  }
  if (key?.asymmetricKeyType === 'ed25519') return key;
  throw new FaultError(notWhatItIs(path, 'is no Ed25519 public key in PEM'));
}

/** One JSON value in all, or one in each line: a checkpoint, or one with its public key beside it. */
function keptIn(path: string, content: string) {
  const checkpoints: SignedCheckpoint[] = [];
  const publicKeys: KeyObject[] = [];
  const whole = jsonIn(content);
  const lines = content.split('\n').filter((line) => line.trim() !== '');
  for (const value of whole === undefined ? lines.map(jsonIn) : [whole]) {
    const { checkpoint, publicKeyPem } = (value ?? {}) as Readonly<Record<string, unknown>>;
    const found = asCheckpoint(checkpoint) ?? asCheckpoint(value);
    if (found === undefined) throw new FaultError(notWhatItIs(path, 'holds no checkpoint'));
    checkpoints.push(found);
    if (typeof publicKeyPem === 'string') publicKeys.push(keyIn(path, publicKeyPem));
  }
  if (checkpoints.length > 0) return { checkpoints, publicKeys };
  throw new FaultError(notWhatItIs(path, 'holds no checkpoint'));
}

function jsonIn(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}

function noKey(): Fault {
  const finding = 'no public key was given, and the one in the export proves nothing about itself';
  const consequence =
    'nothing was checked; give --key, or --checkpoint with a file that holds the key';
  return fault('REQUEST_MALFORMED', { place: 'audit check', finding, consequence });
}

function notWhatItIs(place: string, finding: string): Fault {
  return fault('REQUEST_MALFORMED', { place, finding, consequence: 'nothing was checked' });
}

function unreadable(place: string, error: unknown): Fault {
  const { code } = error as NodeJS.ErrnoException;
  if (code?.startsWith('Z_') === true) {
    const finding = `its packing is damaged or cut off (${code})`;
    return fault('AUDIT_TAMPERED', { place, finding });
  }
  const finding = `cannot be read (${code ?? describeError(error)})`;
  const consequence = 'the check was not finished and says nothing';
  return fault('REQUEST_MALFORMED', { place, finding, consequence });
}
