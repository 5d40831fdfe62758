// What each process of the agent may do under its unit: who it is, what it holds open, and what its sandbox lets a try through.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { TRACKS, type TrackName } from '#model/track-name';
import { EDU, pciDirectory } from '../access.ts';
import { check } from '../report.ts';
import { allowed, connecting, listening, opening, type Trial, type Tried, tryAs } from './probe.ts';
import { groupOf, must, pidOf, property, unitOf, userOf } from './service.ts';

/** CAP_SYS_RAWIO, linux/capability.h. */
const RAW_IO = '0000000000020000';
const NONE = '0000000000000000';
const GROUPS: Readonly<Record<TrackName, readonly string[]>> = {
  kernel: ['dsmil-authority', 'dsmil-stop', 'dsmil-devices', 'dialout'],
  security: ['dsmil-authority', 'dsmil-requests', 'dsmil-stop'],
  interface: ['dsmil-requests', 'dsmil-stop'],
};
const LIMIT = '/sys/class/hwmon/hwmon0/temp1_max';
const PORT = 8443;
/** An address of this machine that the site does not allow (10-network.conf). */
const STRANGER = '192.0.2.1';
const [ALLOWED_LIMIT_MS, DENIED_LIMIT_MS] = [120_000, 4_000] as const;

const bar = (): string => `${pciDirectory(EDU.vendor, EDU.device)}/resource0`;

export async function checkNodes(): Promise<void> {
  await check('udev gives registers to the group of kernel alone', () => {
    const devices = groupOf('dsmil-devices');
    const nodes: readonly (readonly [string, number, number])[] = [
      ['/dev/mem', devices, 0o660],
      ['/dev/uio0', devices, 0o660],
      ['/dev/i2c-0', devices, 0o660],
      ['/dev/ttyS1', groupOf('dialout'), 0o660],
      [bar(), devices, 0o660],
      [LIMIT, devices, 0o664],
    ];
    for (const [path, gid, mode] of nodes) {
      const status = statSync(path);
      assert.deepEqual(
        [path, status.uid, status.gid, (status.mode & 0o7777).toString(8)],
        [path, 0, gid, mode.toString(8)],
      );
    }
    return nodes.map(([path]) => path).join(' ');
  });
}

function statusOf(pid: number): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
  return new Map(
    lines.map((line): [string, string] => {
      const at = line.indexOf(':');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
}

async function checkIdentities(): Promise<void> {
  await check('each process is its own user, in its own groups, with no right too many', () => {
    for (const track of TRACKS) {
      const status = statusOf(pidOf(track));
      const { uid, gid } = userOf(`dsmil-${track}`);
      const groups = [gid, ...GROUPS[track].map(groupOf)].sort((left, right) => left - right);
      const capabilities = track === 'kernel' ? RAW_IO : NONE;
      const found = {
        user: status.get('Uid')?.split('\t'),
        group: status.get('Gid')?.split('\t'),
        groups: status.get('Groups')?.split(' ').map(Number),
        effective: status.get('CapEff'),
        bounding: status.get('CapBnd'),
        noNewPrivileges: status.get('NoNewPrivs'),
        seccomp: status.get('Seccomp'),
      };
      assert.deepEqual(
        { track, ...found },
        {
          track,
          user: Array(4).fill(String(uid)),
          group: Array(4).fill(String(gid)),
          groups,
          effective: capabilities,
          bounding: capabilities,
          noNewPrivileges: '1',
          seccomp: '2',
        },
      );
    }
    return 'users, groups, capabilities, filter';
  });
  await check('kernel and security have no network, each a mount tree of its own', () => {
    const space = (pid: number | 'self', kind: string) => readlinkSync(`/proc/${pid}/ns/${kind}`);
    for (const track of TRACKS) {
      const pid = pidOf(track);
      assert.notEqual(space(pid, 'mnt'), space('self', 'mnt'), track);
      const shares = space(pid, 'net') === space('self', 'net');
      assert.equal(shares, track === 'interface', `${track} shares the network: ${shares}`);
    }
    return 'interface alone shares the network of the machine';
  });
}

async function checkOpenFiles(): Promise<void> {
  await check('kernel has its windows and buses open, the others not one', () => {
    const wanted = ['/dev/mem', '/dev/uio0', '/dev/i2c-0', 'resource0'];
    const of = (track: TrackName): readonly string[] => {
      const pid = pidOf(track);
      const maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
      const files = readdirSync(`/proc/${pid}/fd`).map((name) => linkOf(`/proc/${pid}/fd/${name}`));
      return wanted.filter(
        (name) => maps.includes(name) || files.some((file) => file.endsWith(name)),
      );
    };
    assert.deepEqual(of('kernel'), wanted);
    assert.deepEqual([of('security'), of('interface')], [[], []]);
    return wanted.join(' ');
  });
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // Closed meanwhile.
    return '';
  }
}

/** Gives what came of the port that is not of interface, tried in the same go. */
async function checkSandboxes(port: Trial): Promise<Tried> {
  const devices = ['/dev/mem', '/dev/uio0', '/dev/i2c-0', '/dev/ttyS1', bar(), LIMIT];
  const registers = devices.map((path) => opening(path, 'write'));
  const state = '/var/lib/dsmil/security';
  const database = opening(`${state}/agent.db`, 'read');
  const sealing = opening(`${state}/sealing-key`, 'read');
  const signing = opening('/run/credentials/dsmil-security.service/dsmil.authority-key', 'read');
  const server = opening('/var/lib/dsmil/interface/server.json', 'read');
  const plan = opening('/run/dsmil/kernel/safe-drive.plan', 'write');
  const latch = opening('/run/dsmil/stop/kernel/latch', 'write');
  const board = opening('/etc/dsmil/board.yaml', 'write');
  const secrets = [database, sealing, signing, server, plan, latch, board];
  const network = [connecting('127.0.0.1', PORT), connecting(STRANGER, PORT)];
  const trials: readonly Trial[] = [...registers, ...secrets, ...network];
  const named = (...wanted: readonly Trial[]) => wanted.map(({ name }) => name);
  const told = (results: Tried) =>
    [...results].map(([name, { ok, said }]) => `${name}: ${ok ? 'ok' : said}`).join('; ');
  let fromInterface: Tried = new Map();
  await check("kernel's sandbox opens every register and no secret, and has no network", () => {
    const results = tryAs('kernel', trials);
    assert.deepEqual(allowed(results), named(...registers, plan, latch), told(results));
    return told(results);
  });
  await check("security's sandbox opens its record and not one register", () => {
    const results = tryAs('security', trials);
    assert.deepEqual(allowed(results), named(database, sealing), told(results));
    return told(results);
  });
  await check("interface's sandbox opens no register, no record and no key but its own", () => {
    const own = connecting('127.0.0.1', PORT);
    fromInterface = tryAs('interface', [...registers, ...secrets, own, port]);
    const went = allowed(fromInterface).filter((name) => name !== port.name);
    assert.deepEqual(went, named(server, own), told(fromInterface));
    return told(fromInterface);
  });
  return fromInterface;
}

/** Whether a connection is taken; the kernel answers for a server that is slow. */
function connects(host: string, limitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: PORT });
    const end = (taken: boolean) => {
      socket.destroy();
      resolve(taken);
    };
    socket.setTimeout(limitMs, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

async function checkNetwork(port: Trial, tried: Tried): Promise<void> {
  await check('interface answers a network that its site allows, and no other', async () => {
    const denied = property(unitOf('interface'), 'IPAddressDeny').split(' ').sort();
    assert.deepEqual(denied, ['0.0.0.0/0', '::/0']);
    assert.equal(
      await connects('127.0.0.1', ALLOWED_LIMIT_MS),
      true,
      'not even the allowed address',
    );
    assert.equal(
      await connects(STRANGER, DENIED_LIMIT_MS),
      false,
      'an address that is denied was answered',
    );
    return `127.0.0.1 yes, ${STRANGER} no`;
  });
  await check('a port that is not of interface is refused where systemd was built for it', () => {
    const result = tried.get(port.name);
    assert.equal(result?.ok, !enforced(), result?.said);
    return enforced() ? `refused: ${result?.said}` : 'systemd without BPF_FRAMEWORK: not enforced';
  });
}

/** SocketBindDeny= needs libbpf in systemd (systemd.resource-control(5)). */
function enforced(): boolean {
  return must('systemctl', '--version').includes('+BPF_FRAMEWORK');
}

export async function checkWalls(): Promise<void> {
  await checkIdentities();
  await checkOpenFiles();
  // It ends when it is refused; where it is not, what listens is ended.
  const port = listening(9_999, enforced() ? 120 : 2);
  await checkNetwork(port, await checkSandboxes(port));
}
