// Node's HTTP servers without its HTTP client: an ES import of node:http evaluates every export, and some of them load
// the whole of undici, 6 MB of resident memory and 40 ms of start-up that this process has no use for.

export const http = process.getBuiltinModule('node:http');
export const https = process.getBuiltinModule('node:https');
