// A bare grpc-js unary echo over TLS in a process of its own: what the transport alone costs.
// Usage: grpc-echo SERVER; takes the agent's own key and certificate from there, and prints its port.

import { readFileSync } from 'node:fs';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { ECHO } from './grpc-echo-service.ts';

const [path = ''] = process.argv.slice(2);
const { keyPem, certificatePem } = JSON.parse(readFileSync(path, 'utf8')) as {
  readonly keyPem: string;
  readonly certificatePem: string;
};
const server = new Server();
server.addService(ECHO, {
  echo: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) =>
    answer(null, call.request),
});
const pair = { cert_chain: Buffer.from(certificatePem), private_key: Buffer.from(keyPem) };
server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`${port}\n`);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
