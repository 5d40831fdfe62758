// Loads the compiled add-on for this machine's architecture; the only place that does.

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * Exports of the add-on; each typed wrapper beside this file names the part it uses. The path is written from two
 * folders below the root, where both this file and the bundled processes (`build/bin`) lie.
 */
export const addon: unknown = require(`../../drivers/native/build/dsmil-${process.arch}.node`);
