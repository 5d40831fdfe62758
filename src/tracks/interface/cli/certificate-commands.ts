// `dsmil pki authority | list | issue | renew | revoke` and `dsmil keys rotate`: certificates of clients, and security's signing keys.
// Invariants: a private key is made here, kept here with mode 0600, and never sent; no file is ever written over.

import { mkdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { REST_BASE } from '#model/operation-table';
import type { Run } from './cli-parts.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { makeKeyRequest } from './key-request.ts';
import { writeNewText } from './new-file.ts';
import type { CliSession } from './session.ts';
import { accountId } from './setup-commands.ts';
import { timeText } from './times.ts';

const CERTIFICATES = `${REST_BASE}/certificates`;
const REQUEST_BYTES_MAX = 16_384;

interface WhereOptions {
  readonly out?: string;
  readonly request?: string;
}
interface IssueOptions extends WhereOptions {
  readonly reason: string;
}

function serialArgument(text: string): string {
  const serial = text.replaceAll(':', '');
  if (/^[0-9a-fA-F]{1,64}$/.test(serial)) return serial;
  throw new InvalidArgumentError('Give the hexadecimal serial that `pki list` shows.');
}

export function addCertificates(program: Command, run: Run): void {
  const pki = program.command('pki').description('the private certificate authority');
  pki
    .command('authority')
    .description('the certificate that clients trust, and the list of revoked ones, PEM')
    .action(() =>
      run((open) =>
        open.show(open.client.get(`${CERTIFICATES}/authority`), (json) => {
          const { certificatePem, revocationListPem } = json as AuthorityJson;
          open.output.text(json, `${certificatePem.trimEnd()}\n${revocationListPem.trimEnd()}`);
        }),
      ),
    );
  pki
    .command('list')
    .description('certificates issued here')
    .action(() =>
      run((open) => open.show(open.client.get(CERTIFICATES), (json) => list(open, json))),
    );
  pki
    .command('issue')
    .description('a client certificate for an account; two administrators have to ask')
    .argument('<account>', 'whose it is', accountId)
    .option('--out <directory>', 'for the new key (mode 0600), the request and the certificate')
    .option('--request <file>', 'uses this PKCS #10 request instead of making a key')
    .requiredOption('--reason <text>', 'why')
    .action((account: string, options: IssueOptions) =>
      run((open) => issue(open, account, options)),
    );
  pki
    .command('renew')
    .description('the successor of a good certificate, for the same account')
    .argument('<serial>', 'of the certificate that ends soon', serialArgument)
    .option('--out <directory>', 'for the new key (mode 0600), the request and the certificate')
    .option('--request <file>', 'uses this PKCS #10 request instead of making a key')
    .action((serial: string, options: WhereOptions) => run((open) => renew(open, serial, options)));
  pki
    .command('revoke')
    .description('makes a certificate worthless at once; what was opened with it ends')
    .argument('<serial>', 'as `pki list` shows it', serialArgument)
    .requiredOption('--reason <text>', 'why')
    .action((serial: string, { reason }: { readonly reason: string }) =>
      run(async (open) => {
        const answer = await open.client.post(`${CERTIFICATES}/${serial}/revoke`, { reason });
        return answer.kind === 'data'
          ? open.ended(answer.json, `certificate ${serial} is worth nothing any more`)
          : open.failed(answer);
      }),
    );
  addKeys(program, run);
}

function addKeys(program: Command, run: Run): void {
  const keys = program.command('keys').description('the signing keys of security');
  keys
    .command('rotate')
    .description('replaces a signing key while the agent runs; two administrators have to ask')
    .addArgument(
      keys
        .createArgument(
          '<key>',
          'of operations, of the audit chain, or of the secrets in the store',
        )
        .choices(['authorization', 'checkpoint', 'sealing']),
    )
    .requiredOption('--reason <text>', 'why')
    .action((key: string, { reason }: { readonly reason: string }) =>
      run(async (open) => {
        const answer = await open.client.post(`${REST_BASE}/keys/rotate`, { key, reason });
        if (answer.kind !== 'data') return open.failed(answer);
        const { json } = answer;
        return open.change(json, () =>
          open.output.text(json, (json as { readonly publicKeyPem: string }).publicKeyPem),
        );
      }),
    );
}

interface AuthorityJson {
  readonly certificatePem: string;
  readonly revocationListPem: string;
}

interface CertificateJson {
  readonly serial: string;
  readonly purpose: string;
  readonly subject: string;
  readonly fingerprint: string;
  readonly notBefore: string | null;
  readonly notAfter: string | null;
  readonly revoked: string | null;
  readonly revokedBecause: string;
}

function list(open: CliSession, json: unknown): void {
  const { certificates } = json as { readonly certificates: readonly CertificateJson[] };
  const rows = certificates.map((one) => [
    one.serial,
    one.purpose,
    one.subject,
    timeText(one.notBefore),
    timeText(one.notAfter),
    one.revoked === null ? '' : `REVOKED ${timeText(one.revoked)}: ${one.revokedBecause}`,
  ]);
  const head = ['serial', 'for a', 'subject', 'from', 'until', ''];
  open.output.data(json, head, rows, 'no certificate was issued yet', ['from']);
}

interface Prepared {
  readonly requestPem: string;
  /** Where it lies, for the second administrator, who has to send the very same. */
  readonly requestFile: string;
  /** Undefined: the certificate goes to standard output alone. */
  readonly certificateFile: string | undefined;
}

async function issue(open: CliSession, account: string, options: IssueOptions): Promise<ExitCode> {
  const prepared = await prepare(account, options);
  if (!prepared.ok) return open.fault(prepared.fault);
  const { requestPem, requestFile } = prepared.value;
  const { out, reason } = options;
  open.setSecondCommand([
    'pki',
    'issue',
    account,
    '--request',
    requestFile,
    ...(out === undefined ? [] : ['--out', resolve(out)]),
    '--reason',
    reason,
  ]);
  const answer = await open.client.post(CERTIFICATES, { account, requestPem, reason });
  if (answer.kind !== 'data') {
    const code = open.failed(answer);
    if (options.request === undefined) open.output.message(kept(requestFile));
    return code;
  }
  const { json } = answer;
  const { done } = json as { readonly done: boolean };
  if (!done) return open.change(json, () => undefined);
  return keep(open, json, prepared.value);
}

async function renew(open: CliSession, serial: string, options: WhereOptions): Promise<ExitCode> {
  const prepared = await prepare(`after-${serial.toLowerCase()}`, options);
  if (!prepared.ok) return open.fault(prepared.fault);
  const { requestPem } = prepared.value;
  const answer = await open.client.post(`${CERTIFICATES}/${serial}/renew`, { requestPem });
  if (answer.kind === 'data') return keep(open, answer.json, prepared.value);
  const code = open.failed(answer);
  if (options.request === undefined) open.output.message(kept(prepared.value.requestFile));
  return code;
}

/** What was made here is not thrown away: the next try uses it. */
function kept(requestFile: string): string {
  return `the new key and its request are kept: ask again with --request ${requestFile}`;
}

/** The certificate as data, and in its file where there is one. */
async function keep(open: CliSession, json: unknown, { certificateFile }: Prepared) {
  const { certificatePem } = json as { readonly certificatePem: string };
  open.output.text(json, certificatePem);
  if (certificateFile === undefined) return EXIT.ok;
  const written = await writeNewText(certificateFile, 0o644, `${certificatePem.trimEnd()}\n`);
  if (!written.ok) return open.fault(written.fault);
  open.output.message(`the certificate is in ${certificateFile}`);
  return EXIT.ok;
}

async function prepare(name: string, options: WhereOptions): Promise<Outcome<Prepared>> {
  const { out, request } = options;
  if (out === undefined && request === undefined) {
    const finding = 'is needed for the new key, or --request FILE for a key that is there already';
    return refuse(fault('REQUEST_MALFORMED', { place: '--out', finding, consequence: NOTHING }));
  }
  const directory = out === undefined ? undefined : resolve(out);
  if (directory !== undefined) {
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      const finding = `cannot be made (${describeError(error)})`;
      return refuse(
        fault('REQUEST_MALFORMED', { place: directory, finding, consequence: NOTHING }),
      );
    }
  }
  const certificateFile = directory === undefined ? undefined : join(directory, `${name}.crt`);
  if (request !== undefined) {
    const requestPem = await readRequest(request);
    if (!requestPem.ok) return requestPem;
    const requestFile = resolve(request);
    return succeed({ requestPem: requestPem.value, requestFile, certificateFile });
  }
  return makeKey(name, directory ?? '.', certificateFile);
}

async function makeKey(
  name: string,
  directory: string,
  certificateFile: string | undefined,
): Promise<Outcome<Prepared>> {
  const { privateKeyPem, requestPem } = await makeKeyRequest(name);
  const key = await writeNewText(join(directory, `${name}.key`), 0o600, privateKeyPem);
  if (!key.ok) return key;
  const requestFile = join(directory, `${name}.csr`);
  const written = await writeNewText(requestFile, 0o644, requestPem);
  return written.ok ? succeed({ requestPem, requestFile, certificateFile }) : written;
}

async function readRequest(path: string): Promise<Outcome<string>> {
  const no = (finding: string) =>
    refuse(fault('REQUEST_MALFORMED', { place: path, finding, consequence: NOTHING }));
  try {
    const { size } = await stat(path);
    if (size > REQUEST_BYTES_MAX) return no(`is larger than ${REQUEST_BYTES_MAX} bytes`);
    const pem = await readFile(path, 'utf8');
    // Whoever names the key's file by mistake must not have it sent.
    if (pem.includes('PRIVATE KEY')) return no('holds a private key; give the request');
    if (/-----BEGIN (NEW )?CERTIFICATE REQUEST-----/.test(pem)) return succeed(pem);
    return no('holds no certificate request in PEM');
  } catch (error) {
    return no(`cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

const NOTHING = 'nothing was sent';
