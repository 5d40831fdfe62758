// Every target of the fuzzer, in the order from the wire to the files.

import type { FuzzTarget } from '../fuzz.ts';
import { board, profile, safetyPolicy } from './files.ts';
import { grpc, protobuf } from './grpc.ts';
import { http, json } from './http.ts';
import { kernelBodies, pieces, portBodies } from './link-bodies.ts';
import { modbusRtu, modbusTcp } from './modbus.ts';
import { auditExport, certificateRequest } from './proofs.ts';
import { rings } from './rings.ts';
import { safeDrivePlan } from './safe-drive.ts';
import { websocket } from './websocket.ts';

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  rings,
  pieces,
  portBodies,
  kernelBodies,
  protobuf,
  grpc,
  json,
  http,
  websocket,
  modbusRtu,
  modbusTcp,
  board,
  profile,
  safetyPolicy,
  auditExport,
  certificateRequest,
  ...safeDrivePlan,
];
