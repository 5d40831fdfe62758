// Our ApplianceService and its messages as generated code, and the descriptors of both for reflection.

export { DESCRIPTORS } from './generated/descriptors.ts';
export * from './generated/dsmil/appliance/v1/appliance.ts';
