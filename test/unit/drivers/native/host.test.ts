import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  openPseudoTerminal,
  type PseudoTerminal,
  peerCredentials,
  peerCredentialsOf,
  sdNotify,
} from '../../../../drivers/native/host.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'host-'));
});

afterEach(() => rmSync(directory, { recursive: true }));

async function listening(server: Server, where: string | number): Promise<Server> {
  if (typeof where === 'string') server.listen(where);
  else server.listen(where, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

describe('the peer of a unix socket', () => {
  it('is the process that connected, with its user and group', async () => {
    const path = join(directory, 'socket');
    const server = await listening(createServer(), path);
    const program = `const s = require('node:net').connect(process.argv[1]); process.stdin.resume();
      process.stdin.on('end', () => s.end());`;
    const accepted = once(server, 'connection');
    const child = spawn(process.execPath, ['-e', program, path]);
    const [socket] = (await accepted) as [Socket];
    const expected = { pid: child.pid, uid: process.getuid?.(), gid: process.getgid?.() };
    expect(peerCredentials(socket)).toEqual({ ok: true, value: expected });
    socket.destroy();
    expect(peerCredentials(socket).ok).toBe(false);
    child.stdin.end();
    await once(child, 'exit');
    server.close();
  });

  it('is refused for an internet socket, where the kernel would say root', async () => {
    const server = await listening(createServer(), 0);
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const accepted = once(server, 'connection');
    const client = connect(port, '127.0.0.1');
    const [socket] = (await accepted) as [Socket];
    const found = peerCredentials(socket);
    expect(found.ok || found.fault.internal).toContain('EAFNOSUPPORT');
    client.destroy();
    socket.destroy();
    server.close();
  });

  it('is refused for what is no socket', () => {
    expect(peerCredentialsOf(-1).ok).toBe(false);
    const fd = openSync('/dev/null', 'r');
    expect(peerCredentialsOf(fd).ok).toBe(false);
    closeSync(fd);
  });
});

describe('a notification to the service manager', () => {
  // A datagram server of another program, as Node has none for unix sockets.
  const receiver = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name[0] == '@' else name)
print('ready', flush=True)
print(s.recv(65536).decode(), flush=True)`;

  async function received(address: string, text: string) {
    const python = spawn('python3', ['-c', receiver, address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const chunks: string[] = [];
    python.stdout.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
    await once(python.stdout, 'data');
    const sent = sdNotify(text, address);
    if (!sent.ok) python.kill();
    await once(python, 'close');
    return { sent, got: chunks.join('').replace('ready\n', '') };
  }

  it('arrives whole at a socket in the file system', async () => {
    const { sent, got } = await received(join(directory, 'notify'), 'READY=1\nSTATUS=84 devices');
    expect(sent).toEqual({ ok: true, value: true });
    expect(got).toBe('READY=1\nSTATUS=84 devices\n');
  });

  it('arrives at an abstract socket', async () => {
    const { sent, got } = await received(`@dsmil-test-${process.pid}`, 'WATCHDOG=1');
    expect(sent).toEqual({ ok: true, value: true });
    expect(got).toBe('WATCHDOG=1\n');
  });

  it('is false when nobody asked for it, and a fault when the manager is gone', () => {
    expect(sdNotify('READY=1', '')).toEqual({ ok: true, value: false });
    for (const address of [join(directory, 'gone'), 'relative', `/${'x'.repeat(200)}`]) {
      expect(sdNotify('READY=1', address).ok).toBe(false);
    }
    expect(sdNotify('x'.repeat(10_000), join(directory, 'gone')).ok).toBe(false);
  });
});

describe('a pseudo-terminal', () => {
  let terminal: PseudoTerminal;

  beforeEach(() => {
    const opened = openPseudoTerminal();
    if (!opened.ok) throw new Error(opened.fault.internal);
    terminal = opened.value;
  });

  afterEach(() => {
    closeSync(terminal.fd);
    closeSync(terminal.peerFd);
  });

  function exchange(from: number, to: number, bytes: Buffer): Buffer {
    writeSync(from, bytes);
    const got = Buffer.alloc(bytes.length);
    for (let count = 0; count < bytes.length; ) {
      count += readSync(to, got, count, bytes.length - count, null);
    }
    return got;
  }

  it('carries every byte unchanged both ways, also after its client was closed and opened again', () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    for (let times = 0; times < 2; times++) {
      const client = openSync(terminal.path, 'r+');
      expect(exchange(client, terminal.fd, every)).toEqual(every);
      expect(exchange(terminal.fd, client, every)).toEqual(every);
      closeSync(client);
    }
  });

  it('is not inherited by child processes', async () => {
    const child = spawn('ls', ['-l', '/proc/self/fd'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await once(child, 'close');
    expect(text).toContain('/proc/');
    expect(text).not.toContain(terminal.path);
    expect(text).not.toContain('ptmx');
  });
});
