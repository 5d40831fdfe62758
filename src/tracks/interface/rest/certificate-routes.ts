// The REST routes about certificates of the private authority and about signing keys.

import { SerialSchema } from '#contract/json-administration-schema';
import type { InterfaceService } from '../service.ts';
import { administrationRoute, idParams, type RestRoute } from './rest-route.ts';

export function certificateRoutes(service: InterfaceService): readonly RestRoute[] {
  const certificate = {
    params: idParams(SerialSchema),
    path: ({ id = '' }: Readonly<Record<string, string>>) => ({ serial: id }),
  };
  return [
    administrationRoute(service, 'authority', {
      answer: 'The certificate of the authority and its revocation list, in PEM.',
    }),
    administrationRoute(service, 'certificates', {
      answer: 'Certificates issued here, with their time and whether they are revoked.',
    }),
    administrationRoute(service, 'issueCertificate', {
      answer: 'Whether it is done or a second administrator has to ask; the certificate in PEM.',
    }),
    administrationRoute(service, 'renewCertificate', {
      ...certificate,
      answer: 'The successor in PEM.',
    }),
    administrationRoute(service, 'revokeCertificate', {
      ...certificate,
      answer: 'How many sessions ended with it.',
    }),
    administrationRoute(service, 'rotateKey', {
      answer: 'Whether it is done or a second administrator has to ask; the new public key in PEM.',
    }),
  ];
}
