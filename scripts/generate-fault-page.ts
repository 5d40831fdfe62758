// The reference page of every fault, made from the catalogue so that it cannot go stale.

import { FAULT_CATALOGUE } from '../src/foundation/fault-catalogue.ts';

/** The text of docs/faults.md. */
export function generateFaultPage(): string {
  const rows = Object.entries(FAULT_CATALOGUE).map(
    ([code, entry]) =>
      `| \`${code}\` | ${entry.kind} | ${entry.retry} | ${entry.http} | ${entry.grpc} | ${entry.sentence} | ${entry.action} |`,
  );
  return `# Faults

Every answer that is not a success carries one of these codes. A *refusal* means that nothing was done, *operating* that the
plant or a bus misbehaved, *integrity* that trust is at stake. \`dsmil explain CODE\` prints one entry.
This page is generated from \`src/foundation/fault-catalogue.ts\`.

| code | kind | retry | HTTP | gRPC | what follows | what to do |
|---|---|---|---|---|---|---|
${rows.join('\n')}
`;
}
