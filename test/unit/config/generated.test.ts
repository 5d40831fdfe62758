import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { generateDeclarations, generateValidators } from '../../../scripts/generate-validators.ts';

const ROOT = join(import.meta.dirname, '../../..');

test('the committed validators are what the schemas give', () => {
  const committed = (name: string) =>
    readFileSync(join(ROOT, 'src/config/generated', name), 'utf8');
  expect(committed('validators.js') === generateValidators()).toBe(true);
  expect(committed('validators.d.ts')).toBe(generateDeclarations());
});

test.each(['board', 'profile'])(
  '%s.schema.json is valid JSON Schema 2020-12 and says what it is',
  (name) => {
    const text = readFileSync(join(ROOT, `drivers/profiles/${name}.schema.json`), 'utf8');
    const schema = JSON.parse(text);
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(schema.$id).toMatch(new RegExp(`/${name}\\.schema\\.json$`));
    expect(schema.title).toBe(name);
    const ajv = new Ajv2020({ logger: false });
    expect(ajv.validateSchema(schema)).toBe(true);
  },
);
