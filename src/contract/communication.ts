// The specification's messages and service as generated code: the one way out of src/contract/generated.

export * from './generated/dsmil/communication/v1/communication.ts';
