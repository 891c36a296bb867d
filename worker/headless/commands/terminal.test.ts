import { expect, test } from 'vitest';
import { createTerminal, megabytes, secondsRange, table } from './terminal.ts';

function recorded(json: boolean, isTTY: boolean) {
  const written = { stdout: '', stderr: '' };
  let clock = 0;
  const terminal = createTerminal(
    json,
    { write: (text) => void (written.stdout += text) },
    { isTTY, columns: 12, write: (text) => void (written.stderr += text) },
    () => clock,
  );
  return { terminal, written, pass: (ms: number) => void (clock += ms) };
}

test('on a terminal a progress line replaces the one before and is cut to the width', () => {
  const { terminal, written } = recorded(false, true);
  terminal.progress('step 1');
  terminal.progress('step 2 of very many');
  terminal.note('done');
  expect(written.stderr).toBe('\r\u001B[2Kstep 1\r\u001B[2Kstep 2 of v\ndone\n');
});

test('elsewhere progress is plain lines, now and then', () => {
  const { terminal, written, pass } = recorded(false, false);
  for (let i = 0; i < 5; i++) {
    terminal.progress(`step ${i}`);
    pass(900);
  }
  expect(written.stderr).toBe('step 0\nstep 3\n');
});

test('with --json only documents reach stdout', () => {
  const { terminal, written } = recorded(true, false);
  terminal.textLine('for a person');
  terminal.jsonLine({ a: 1 });
  expect(written.stdout).toBe('{"a":1}\n');
});

test('tables align their columns', () => {
  expect(
    table(
      [
        ['a', 'long', 'x'],
        ['bcd', 'e', ''],
      ],
      new Set([0]),
    ),
  ).toBe('  a  long  x\nbcd  e');
});

test('sizes and times in their larger unit', () => {
  expect([0, 0.0031, 12.4, 2345].map(megabytes)).toEqual(['0 MB', '3.1 kB', '12 MB', '2.3 GB']);
  expect([
    secondsRange(20, 31),
    secondsRange(170, 230),
    secondsRange(3, 100),
    secondsRange(4000, 9000),
  ]).toEqual(['20–31 s', '2–4 min', 'up to 2 min', '1–3 h']);
});
