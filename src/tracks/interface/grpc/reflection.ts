// Server reflection from the committed descriptor set (google.protobuf.FileDescriptorSet, descriptor.proto).

import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { DESCRIPTORS } from '#contract/appliance';

type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0];

/** The members of the set: field 1, length-delimited; other fields are skipped. */
function fileDescriptors(set: Uint8Array): Buffer[] {
  const reader = new BinaryReader(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(type);
  }
  return files;
}

export function addReflection(server: Server): void {
  const fileDescriptorProtos = fileDescriptors(Buffer.from(DESCRIPTORS, 'base64'));
  // The shape proto-loader gives; reflection reads nothing of it but the descriptors.
  const definition = {
    format: 'Protocol Buffer 3 DescriptorProto',
    type: {},
    fileDescriptorProtos,
  };
  new ReflectionService({ dsmil: definition } as unknown as PackageDefinition).addToServer(server);
}
