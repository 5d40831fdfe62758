// One HTTP request over TLS or a unix socket with Node's own client: status, headers and parsed JSON.

import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest, type RequestOptions as TlsRequestOptions } from 'node:https';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever the server says
  readonly json: any;
}

export interface HttpCall extends TlsRequestOptions {
  /** An object is sent as JSON, text as it is. */
  readonly body?: unknown;
}

export function httpCall(call: HttpCall): Promise<HttpAnswer> {
  const { body, ...rest } = call;
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const headers = {
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(rest.headers as Record<string, string> | undefined),
  };
  const send = rest.socketPath === undefined ? httpsRequest : (httpRequest as typeof httpsRequest);
  return new Promise((resolve, reject) => {
    const options: RequestOptions = { agent: false, ...rest, headers };
    const request = send(options, (response) => {
      let received = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        received += part;
      });
      response.on('error', reject);
      response.on('end', () => {
        let json: unknown;
        try {
          json = JSON.parse(received);
        } catch {
          json = undefined;
        }
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: received,
          json,
        });
      });
    });
    request.on('error', reject);
    request.end(text);
  });
}
