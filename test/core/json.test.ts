import { describe, expect, test } from 'vitest';
import { JsonPointer, lookUp, parseJsonNumbersAsText } from '../../src/core/json.ts';

const find = (document: unknown, pointer: string) => lookUp(document, JsonPointer.parse(pointer));

describe('JSON Pointers', () => {
  test.each([
    ['/userId', ['userId']],
    ['/user/id', ['user', 'id']],
    ['/', ['']],
    ['/a~1b/c~0d', ['a/b', 'c~d']],
    ['/~01', ['~1']],
  ])('%s is read as RFC 6901 says', (pointer, tokens) => {
    expect(JsonPointer.parse(pointer)).toEqual(tokens);
  });

  test.each(['', 'userId', '$.userId', '/a~2b', '/a~'])('%s is refused', (pointer) => {
    expect(JsonPointer.safeParse(pointer).success).toBe(false);
  });

  test('a pointer leads through objects and arrays', () => {
    expect(find({ user: { ids: ['a', 'b'] } }, '/user/ids/1')).toBe('b');
    expect(find({ '': 1 }, '/')).toBe(1);
  });

  test('a pointer leads nowhere through texts, null and what is not there', () => {
    expect(find({ user: 'x' }, '/user/length')).toBeUndefined();
    expect(find({ user: null }, '/user/id')).toBeUndefined();
    expect(find({}, '/user/id')).toBeUndefined();
  });

  test('only own properties count: __proto__ and constructor are names like any other', () => {
    expect(find({}, '/__proto__')).toBeUndefined();
    expect(find({}, '/__proto__/constructor/name')).toBeUndefined();
    expect(find({}, '/constructor/name')).toBeUndefined();
    expect(find([], '/map')).toBeUndefined();
    expect(find(JSON.parse('{"__proto__":{"id":"x"}}'), '/__proto__/id')).toBe('x');
  });
});

test('numbers are kept as the text they were written in, texts that look like numbers stay what they are', () => {
  const text = '{"a":9007199254740993,"b":[1.0,1e3,-0,1E400],"c":"1.0","d":true,"e":null}';
  expect(parseJsonNumbersAsText(text)).toEqual({
    a: '9007199254740993',
    b: ['1.0', '1e3', '-0', '1E400'],
    c: '1.0',
    d: true,
    e: null,
  });
});
