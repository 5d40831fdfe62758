// What travels over links: pieces put together from damaged frames, and bodies that are damaged as data, through the
// codec, the shapes and the real handlers of security and kernel.

import { systemClock } from '#foundation/clock';
import { decodeBody, encodeBody } from '#link/codec';
import type { Message } from '#link/message';
import { serveOrchestrator } from '#link/orchestrator-server';
import { serveKernelTrack } from '#link/track-server';
import { ClearanceLevel } from '#model/principal';
import { KernelBench } from '../../support/kernel-bench.ts';
import { person, ScriptedOrchestrator } from '../../support/scripted-orchestrator.ts';
import { damageBytes } from '../byte-mutators.ts';
import type { FuzzBench, FuzzTarget } from '../fuzz.ts';
import type { FuzzRandom } from '../random.ts';
import { damageTree } from '../tree-mutators.ts';
import type { Complaint } from '../verdict.ts';
import { FedEnd, framesIn, framesOf } from './fed-end.ts';
import { kernelMessages, portMessages, SESSION } from './recorded-messages.ts';

const WORDS = [
  'port.operate',
  'track.commit',
  '__proto__',
  '"#+ff"',
  '"#u"',
  '\\u0023u',
  '[[[[',
  '{}',
];

function orchestrator(): ScriptedOrchestrator {
  const made = new ScriptedOrchestrator();
  made.sessions.set(SESSION, {
    id: SESSION,
    principal: person('alice', ClearanceLevel.TOP_SECRET),
    administrator: true,
    way: 'token',
    scope: null,
    expiresAtWallMs: Date.now() + 3_600_000,
  });
  return made;
}

async function answered(end: FedEnd): Promise<void> {
  for (let turn = 0; turn < 200 && end.answers.length < end.requests; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Decoding what was encoded from what was decoded changes nothing any more. */
function judgeCodec(text: string): Complaint {
  const decoded = decodeBody(text);
  if (!decoded.ok) {
    const { code, finding } = decoded.fault;
    return code === 'LINK_PROTOCOL' && finding !== '' ? null : `codec: ${code} ${finding}`;
  }
  let again: string;
  try {
    again = encodeBody(decoded.value);
  } catch (error) {
    // Numbers beyond a double and more than 64 levels cannot be sent back; they are plain data all the same.
    return error instanceof TypeError ? null : `codec: ${String(error)}`;
  }
  const repeated = decodeBody(again);
  if (!repeated.ok) return `codec: its own text is refused: ${repeated.fault.finding}`;
  return encodeBody(repeated.value) === again ? null : 'codec: another text the second time';
}

export const pieces: FuzzTarget = {
  name: 'pieces',
  runs: 3_000,
  open: async (): Promise<FuzzBench> => {
    const messages = await portMessages();
    const long = { ...messages[0], text: encodeBody({ reason: 'é'.repeat(6_000) }) } as Message;
    const corpus = [...messages, long].map((message, index) => framesOf(message, index + 1));
    corpus.push(Buffer.concat(corpus.slice(0, 8)));
    return {
      corpus,
      mutate: (input, random) => damageBytes(input, { random, corpus, dictionary: WORDS }),
      check: async (input) => {
        const end = new FedEnd('security', 'interface', systemClock);
        const stop = serveOrchestrator(end, orchestrator());
        for (const [type, frame] of framesIn(input)) {
          const complaint = end.feed(type, frame);
          if (complaint !== null) return complaint;
        }
        await answered(end);
        const complaint = end.judge();
        stop();
        end.close();
        return complaint;
      },
      close: () => Promise.resolve(),
    };
  },
};

/** Kind, then method, deadline left out, then the body's text. */
function inputOf({ kind, type, method, text }: Message): Buffer {
  return Buffer.from(`${kind} ${type} ${method}\n${text}`);
}

function messageOf(input: Buffer, deadlineMs: number): Message {
  const text = input.toString('utf8');
  const end = text.indexOf('\n');
  const [kind, type, method = ''] = text.slice(0, Math.max(0, end)).split(' ');
  return {
    kind: kind === 'notice' ? 'notice' : 'request',
    type: Number(type) === 4 ? 4 : 1,
    correlation: 1,
    deadlineMs,
    method,
    text: text.slice(end + 1),
  };
}

/** One time in eight as bytes, for what no tree can be: half a text, letters that are none. */
function damageBody(corpus: readonly Buffer[]) {
  return (input: Buffer, random: FuzzRandom): Buffer => {
    if (random.once(8)) return damageBytes(input, { random, corpus, dictionary: WORDS });
    const text = input.toString('utf8');
    const head = text.slice(0, text.indexOf('\n') + 1);
    const bodyOf = (whole: string) => whole.slice(whole.indexOf('\n') + 1) || 'null';
    const other = () => JSON.parse(bodyOf(random.pick(corpus).toString('utf8'))) as unknown;
    return Buffer.from(head + damageTree(JSON.parse(bodyOf(text)), random, other));
  };
}

export const portBodies: FuzzTarget = {
  name: 'port-bodies',
  runs: 4_000,
  open: async (): Promise<FuzzBench> => {
    const corpus = (await portMessages()).map(inputOf);
    return {
      corpus,
      mutate: damageBody(corpus),
      check: async (input) => {
        const message = messageOf(input, systemClock.nowMs() + 5_000);
        const codec = judgeCodec(message.text);
        if (codec !== null) return codec;
        const end = new FedEnd('security', 'interface', systemClock);
        const stop = serveOrchestrator(end, orchestrator());
        end.deliver(message);
        await answered(end);
        const complaint = end.judge();
        stop();
        end.close();
        return complaint;
      },
      close: () => Promise.resolve(),
    };
  },
};

export const kernelBodies: FuzzTarget = {
  name: 'kernel-bodies',
  runs: 400,
  open: async (): Promise<FuzzBench> => {
    const corpus = (await kernelMessages()).map(inputOf);
    return {
      corpus,
      mutate: damageBody(corpus),
      // A kernel of its own for each input: a stop or foreign keys from the one before would hide everything.
      check: async (input) => {
        const bench = await KernelBench.open();
        try {
          const end = new FedEnd('kernel', 'security', bench.clock);
          serveKernelTrack(end, bench.track);
          end.deliver(messageOf(input, bench.clock.nowMs() + 5_000));
          const before = bench.bytes();
          for (let turn = 0; turn < 10_000 && end.answers.length < end.requests; turn++) {
            await bench.clock.advance(1);
          }
          end.close();
          const complaint = end.judge();
          if (complaint !== null) return complaint;
          const order = messageOf(input, 0).method;
          const stops = order === 'track.stop';
          // No input holds a valid signature, so but for a stop nothing may have been written.
          return stops || bench.bytes().equals(before)
            ? null
            : `${order} wrote without authorization`;
        } finally {
          await bench.close();
        }
      },
      close: () => Promise.resolve(),
    };
  },
};
