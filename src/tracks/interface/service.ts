// The one door behind every transport: session, operation table, device picture and events.
// gRPC, REST, WebSocket and the local socket are thin adapters over this service; none of them decides anything.

export {};
