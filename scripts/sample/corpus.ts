/**
 * Generated text for the sample: several kinds of exchange that look different enough for experts to specialise on, and
 * the data set that is fine-tuned on. Everything is made here from word lists, so it can be shipped under the project's
 * own licence.
 */
import type { Draws } from './draws.ts';

/** A question and its answer. */
export interface Exchange {
  readonly prompt: string;
  readonly response: string;
}

const people = [
  'Ada',
  'Ben',
  'Chloe',
  'Dario',
  'Elif',
  'Femi',
  'Grace',
  'Hugo',
  'Ines',
  'Jonas',
  'Kofi',
  'Lena',
  'Mina',
  'Noor',
  'Omar',
  'Paula',
];
const things = [
  'apples',
  'books',
  'coins',
  'marbles',
  'pencils',
  'stamps',
  'cards',
  'shells',
  'stickers',
  'buttons',
];
const places = ['market', 'library', 'harbour', 'garden', 'station', 'museum', 'bakery', 'workshop'];
const colours = ['red', 'blue', 'green', 'yellow', 'white', 'black', 'orange', 'violet'];
const animals = ['cat', 'dog', 'horse', 'owl', 'fox', 'otter', 'goat', 'heron'];
const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const ones = [
  'zero',
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
  'thirteen',
  'fourteen',
  'fifteen',
  'sixteen',
  'seventeen',
  'eighteen',
  'nineteen',
];
const tens = ['', '', 'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety'];
const units = [
  ['metres', 'centimetres', 100],
  ['kilometres', 'metres', 1000],
  ['hours', 'minutes', 60],
  ['weeks', 'days', 7],
  ['kilograms', 'grams', 1000],
] as const;
const functions = ['total', 'scale', 'shift', 'area', 'price', 'score'];
const names = ['a', 'b', 'n', 'x', 'y', 'size', 'width', 'count'];

/** `n` below one hundred in words. */
function inWords(n: number): string {
  if (n < 20) return ones[n] ?? '';
  const unit = n % 10;
  return `${tens[Math.floor(n / 10)]}${unit === 0 ? '' : `-${ones[unit]}`}`;
}

const kinds: readonly ((d: Draws) => Exchange)[] = [
  function sum(d) {
    const [a, b] = [d.integer(1, 60), d.integer(1, 39)];
    return { prompt: `What is ${a} + ${b}?`, response: `${a} + ${b} = ${a + b}` };
  },
  function difference(d) {
    const b = d.integer(1, 40);
    const a = b + d.integer(1, 50);
    return { prompt: `What is ${a} - ${b}?`, response: `${a} - ${b} = ${a - b}` };
  },
  function spell(d) {
    const n = d.integer(0, 99);
    return d.uniform() < 0.5
      ? { prompt: `Write ${n} in words.`, response: inWords(n) }
      : { prompt: `Write "${inWords(n)}" as a number.`, response: `${n}` };
  },
  function sort(d) {
    const words = d.sample([...animals, ...colours], d.integer(3, 5));
    return { prompt: `Sort these words: ${words.join(', ')}.`, response: [...words].sort().join(', ') };
  },
  function reverse(d) {
    const words = d.sample([...places, ...animals], d.integer(3, 4));
    return { prompt: `Reverse the list: ${words.join(', ')}.`, response: words.toReversed().join(', ') };
  },
  function weekday(d) {
    const start = d.integer(0, 6);
    const shift = d.integer(1, 6);
    return {
      prompt: `What day is ${inWords(shift)} days after ${days[start]}?`,
      response: `${inWords(shift)} days after ${days[start]} is ${days[(start + shift) % 7]}.`,
    };
  },
  function convert(d) {
    const [large, small, factor] = d.pick(units);
    const n = d.integer(2, 9);
    return {
      prompt: `How many ${small} are ${n} ${large}?`,
      response: `${n} ${large} are ${n * factor} ${small}.`,
    };
  },
  function record(d) {
    const [person, place, colour, age] = [d.pick(people), d.pick(places), d.pick(colours), d.integer(20, 69)];
    return {
      prompt: `Make JSON: ${person}, aged ${age}, works at the ${place} and likes ${colour}.`,
      response: JSON.stringify({ name: person, age, place, colour }),
    };
  },
  function code(d) {
    const [name, first, second] = [d.pick(functions), ...d.sample(names, 2)];
    const [word, sign] = d.pick([
      ['adds', '+'],
      ['multiplies', '*'],
      ['subtracts', '-'],
    ] as const);
    return {
      prompt: `Write a function ${name} that ${word} ${first} and ${second}.`,
      response: `def ${name}(${first}, ${second}):\n    return ${first} ${sign} ${second}`,
    };
  },
  function story(d) {
    const [person, animal, colour, place] = [
      d.pick(people),
      d.pick(animals),
      d.pick(colours),
      d.pick(places),
    ];
    return {
      prompt: `Tell a short story about ${person} and a ${animal}.`,
      response: `${person} met a ${colour} ${animal} at the ${place}. The ${animal} followed ${person} home, and they became friends.`,
    };
  },
];

/** `count` exchanges of all kinds: what the sample model is made from. */
export function generalExchanges(d: Draws, count: number): Exchange[] {
  return Array.from({ length: count }, () => d.pick(kinds)(d));
}

/** `count` word problems answered step by step: the data set that the sample is fine-tuned on. */
export function wordProblems(d: Draws, count: number): Exchange[] {
  return Array.from({ length: count }, () => d.pick(problems)(d));
}

const problems: readonly ((d: Draws) => Exchange)[] = [
  function gains(d) {
    const [person, thing, place] = [d.pick(people), d.pick(things), d.pick(places)];
    const [had, more, given] = [d.integer(11, 40), d.integer(5, 25), d.integer(2, 10)];
    return {
      prompt: `${person} has ${had} ${thing}. At the ${place} ${person} buys ${more} more and gives ${given} away. How many ${thing} does ${person} have now?`,
      response: `${person} has ${had} + ${more} = ${had + more} ${thing} after the ${place}.\nThen ${had + more} - ${given} = ${had + more - given} are left.\nAnswer: ${had + more - given}`,
    };
  },
  function sharing(d) {
    const [thing, friends, each, kept] = [d.pick(things), d.integer(2, 6), d.integer(2, 9), d.integer(1, 9)];
    const person = d.pick(people);
    return {
      prompt: `${person} gives ${each} ${thing} to each of ${friends} friends and keeps ${kept}. How many ${thing} were there?`,
      response: `The friends get ${friends} * ${each} = ${friends * each} ${thing}.\nWith the ${kept} kept there were ${friends * each} + ${kept} = ${friends * each + kept}.\nAnswer: ${friends * each + kept}`,
    };
  },
  function comparing(d) {
    const [first, second] = d.sample(people, 2);
    const [thing, less, more] = [d.pick(things), d.integer(5, 40), d.integer(2, 20)];
    return {
      prompt: `${first} has ${less} ${thing}. ${second} has ${more} more than ${first}. How many ${thing} do they have together?`,
      response: `${second} has ${less} + ${more} = ${less + more} ${thing}.\nTogether they have ${less} + ${less + more} = ${less + less + more}.\nAnswer: ${less + less + more}`,
    };
  },
];
