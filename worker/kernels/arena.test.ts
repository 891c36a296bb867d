import { expect, test } from 'vitest';
import { Arena } from './index.ts';

test('blocks are aligned and zero, and do not overlap', () => {
  const arena = new Arena();
  const a = arena.allocate(5);
  const b = arena.allocate(100);
  const c = arena.allocate(8, 256);
  expect([a.offset % 64, b.offset % 64, c.offset % 256]).toEqual([0, 0, 0]);
  expect(b.offset).toBeGreaterThanOrEqual(a.offset + 5);
  expect(arena.u8(b, 100).every((x) => x === 0)).toBe(true);
});

test('views stay valid when the arena grows', () => {
  const arena = new Arena();
  const view = arena.f32(arena.allocate(16), 4);
  const block = arena.allocate(10 * 2 ** 20);
  view[0] = 42;
  expect(arena.f32(0, 1)[0]).toBe(42);
  arena.u8(block, block.bytes)[block.bytes - 1] = 1;
  expect(arena.bytesCommitted).toBeGreaterThanOrEqual(arena.bytesUsed);
});

test('release gives scratch space back', () => {
  const arena = new Arena();
  arena.allocate(64);
  const mark = arena.mark();
  const first = arena.allocate(1000);
  arena.release(mark);
  expect(arena.bytesUsed).toBe(mark);
  expect(arena.allocate(1000)).toEqual(first);
  expect(() => arena.release(arena.mark() + 1)).toThrow('above the height');
});

test('zeros are zeros in memory used before, and in fresh memory', () => {
  const arena = new Arena();
  arena.u8(arena.allocate(100), 100).fill(7);
  arena.release(0);
  arena.allocate(10);
  const block = arena.allocateZeros(1000);
  expect(arena.u8(block, 1000).every((x) => x === 0)).toBe(true);
  expect(arena.u8(0, 10).every((x) => x === 7)).toBe(true);
});

test('a view outside its block or of released memory is refused', () => {
  const arena = new Arena();
  const block = arena.allocate(16);
  arena.allocate(64);
  expect(() => arena.f32(block, 5)).toThrow('reach past');
  expect(() => arena.i64(2 ** 20, 1)).toThrow('reach past');
  arena.release(0);
  expect(() => arena.u16(block, 1)).toThrow('reach past');
});

test('a full arena is a UserError that says how much was needed', () => {
  const arena = new Arena({ maximumBytes: 2 ** 20 });
  const before = arena.allocate(2 ** 19);
  expect(() => arena.allocate(2 ** 20)).toThrow(
    expect.objectContaining({ code: 'memory/arena-full', message: expect.stringContaining('GiB') as string }),
  );
  expect(arena.bytesUsed).toBe(before.bytes);
  expect(arena.allocate(2 ** 19).offset).toBe(2 ** 19);
});

test('large blocks of equal size do not start a power of two apart', () => {
  const arena = new Arena();
  const [a, b] = [arena.allocate(2 ** 20), arena.allocate(2 ** 20)];
  expect((b.offset - a.offset) % 64).toBe(0);
  expect(b.offset - a.offset).toBeGreaterThan(2 ** 20);
});

test('touching a block keeps what is in it', () => {
  const arena = new Arena();
  arena.allocate(100);
  const block = arena.allocateZeros(10_003);
  const values = arena.u8(block, 10_003);
  values.set([1, 2, 3], 4096);
  arena.touch(block);
  expect([...values.subarray(4096, 4099), values.reduce((sum, value) => sum + value, 0)]).toEqual([
    1, 2, 3, 6,
  ]);
});
