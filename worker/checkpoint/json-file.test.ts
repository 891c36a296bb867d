import { expect, test } from 'vitest';
import { findDuplicateKey } from './json-file.ts';

test('findDuplicateKey sees keys, not values, and keeps objects apart', () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['{}', undefined],
    ['{"a":1,"b":"a","c":["a","a"],"d":{"a":2}}', undefined],
    ['{"a":1,"a":2}', 'a'],
    ['{"x":{"a":[{"b":1},{"b":2}],"a":3}}', 'a'],
    ['{"a":1," a":2,"\\"a":3,"\\\\":4,"a\\\\":5}', undefined],
    ['{"\\\\" : 1, "\\u005c" : 2}', '\\'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['["a","a"]', undefined],
    ['{"a":"\\":","b":":"}', undefined],
  ];
  for (const [json, expected] of cases) {
    JSON.parse(json);
    expect([json, findDuplicateKey(json)]).toEqual([json, expected]);
  }
  const long = 'x'.repeat(5e6);
  expect(findDuplicateKey(`{"${long}":"${long}","b":"${'\\\\'.repeat(1e5)}"}`)).toBeUndefined();
  expect(findDuplicateKey(`{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`)).toBeUndefined();
});
