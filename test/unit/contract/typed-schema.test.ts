// Schemas that know their type: what tsc refuses, what JSON leaves out, and how named ones are found.

import { expect, it } from 'vitest';
import { Answer, definitionsIn, named, type Schema } from '#contract/typed-schema';

const { Text, Integer, Maybe, List, OrNull, Object: Members } = Answer;

it('fits the type it describes in both directions and no other', () => {
  const schema = Members({ id: Integer(), names: List(Text()), note: Maybe(Text()) });
  interface Same {
    readonly id: number;
    readonly names: readonly string[];
    readonly note?: string;
  }
  const same = schema satisfies Schema<Same>;
  // @ts-expect-error a member of the type is not in the schema
  const more = schema satisfies Schema<Same & { readonly more: string }>;
  // @ts-expect-error a member of the schema is not in the type
  const less = schema satisfies Schema<Pick<Same, 'id' | 'names'>>;
  // @ts-expect-error the type may be null, the schema not
  const orNull = Text() satisfies Schema<string | null>;
  // @ts-expect-error the schema knows a name that the type does not
  const wider = Answer.Names(['a', 'b', 'c']) satisfies Schema<'a' | 'b'>;
  // @ts-expect-error the type knows a name that the schema does not
  const narrower = Answer.Names(['a']) satisfies Schema<'a' | 'b'>;
  expect([same, more, less]).toEqual([schema, schema, schema]);
  expect([orNull.type, wider.enum, narrower.enum]).toEqual(['string', ['a', 'b', 'c'], ['a']]);
});

it('is plain data as JSON, in which an optional member is not required', () => {
  const schema = Members({ id: Integer('Of it.'), note: Maybe(OrNull(Text())) }, 'Something.');
  expect(JSON.parse(JSON.stringify(schema))).toEqual({
    type: 'object',
    description: 'Something.',
    properties: {
      id: { type: 'integer', minimum: 0, description: 'Of it.' },
      note: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    },
    required: ['id'],
  });
});

it('a named schema is a reference, and what it refers to is found at any depth, once', () => {
  const inner = named('Inner', Members({ id: Integer() }));
  const outer = named('Outer', Members({ first: inner, all: Maybe(List(inner)) }));
  expect(JSON.stringify(outer)).toBe('{"$ref":"#/components/schemas/Outer"}');
  const found = definitionsIn({ paths: [{ schema: Maybe(outer) }] });
  expect([...found.keys()]).toEqual(['Outer', 'Inner']);
  expect(found.get('Inner')).toMatchObject({ properties: { id: { type: 'integer' } } });
});

it('does not let one name stand for two schemas', () => {
  const both = [named('One', Text()), named('One', Integer())];
  expect(() => definitionsIn(both)).toThrow('two schemas are called One');
});
