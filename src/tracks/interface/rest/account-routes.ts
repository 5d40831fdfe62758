// The REST routes about accounts and their API tokens.

import { AccountIdSchema, HandleSchema } from '#contract/json-administration-schema';
import type { InterfaceService } from '../service.ts';
import { administrationRoute, idParams, type RestRoute } from './rest-route.ts';

const PROGRESS = 'Whether it is done, or a second administrator has to ask for the same';

/** Neither of the two can enrol as the person. */
const HALF = 'of the invitation each of the two is given one half, and the person needs both';

export function accountRoutes(service: InterfaceService): readonly RestRoute[] {
  const account = {
    params: idParams(AccountIdSchema),
    path: ({ id = '' }: Readonly<Record<string, string>>) => ({ id }),
  };
  return [
    administrationRoute(service, 'accounts', { answer: 'Accounts with their rights and locks.' }),
    administrationRoute(service, 'proposals', {
      answer: 'Changes that wait, each with the body that the second administrator has to send.',
    }),
    administrationRoute(service, 'createAccount', { answer: `${PROGRESS}; ${HALF}.` }),
    administrationRoute(service, 'changeAccount', { ...account, answer: `${PROGRESS}.` }),
    administrationRoute(service, 'inviteAccount', {
      ...account,
      answer: `${PROGRESS}; ${HALF}.`,
    }),
    administrationRoute(service, 'unlockAccount', { ...account, answer: `${PROGRESS}.` }),
  ];
}

export function tokenRoutes(service: InterfaceService): readonly RestRoute[] {
  return [
    administrationRoute(service, 'tokens', { answer: 'API tokens, without what they open.' }),
    administrationRoute(service, 'createToken', { answer: `${PROGRESS}; the token, once.` }),
    administrationRoute(service, 'revokeToken', {
      params: idParams(HandleSchema),
      path: ({ id = '' }) => ({ id }),
      answer: 'How many sessions ended with it.',
    }),
  ];
}
