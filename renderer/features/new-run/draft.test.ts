import { expect, test } from 'vitest';
import { dataset, model } from '../../api/fake-entries.ts';
import {
  emptyForm,
  type FormState,
  fromRunJson,
  missingParts,
  toComparison,
  toDraft,
  toRunJson,
} from './draft.ts';

const form: FormState = {
  ...emptyForm,
  name: ' gsm8k ',
  modelId: 'model_tiny',
  trainIds: ['data_gsm8k'],
  parts: [{ name: 'full', options: { auxLossCoefficient: 0.01 } }],
  sections: { ...emptyForm.sections, train: { steps: 20 } },
};
const models = [model({ id: 'model_tiny', path: '/models/tiny' })];
const datasets = [dataset({ id: 'data_gsm8k', path: '/data/gsm8k.jsonl' })];

test('what is missing is named', () => {
  expect(missingParts(emptyForm)).toEqual(['a model', 'training data', 'a method']);
  expect(missingParts({ ...form, validation: { ids: [] } })).toEqual(['validation data']);
  expect(() => toDraft(emptyForm)).toThrow('the run needs a model, training data, a method');
});

test('a draft has the given values and the defaults of the rest', () => {
  const draft = toDraft(form);
  expect(draft.name).toBe('gsm8k');
  expect(draft.train).toMatchObject({
    steps: 20,
    learningRate: 1e-5,
    optimizer: { name: 'adamw', weightDecay: 0 },
  });
  expect(draft.train.epochs).toBeUndefined();
  expect(toDraft({ ...form, sections: { ...form.sections, train: {} } }).train.epochs).toBe(1);
  expect(draft.method).toEqual({ name: 'full', options: { auxLossCoefficient: 0.01 } });
});

test('an invalid value is named by its field', () => {
  const wrong = { ...form, sections: { ...form.sections, data: { maxLength: -1 } } };
  expect(() => toDraft(wrong)).toThrow('data.maxLength');
});

test('RUN.json round trip, with and without data that forgetting is measured on', () => {
  const entries = [...datasets, dataset({ id: 'data_general', path: '/data/general.jsonl' })];
  for (const generalIds of [[], ['data_general']]) {
    const given = { ...form, generalIds };
    const text = toRunJson(given, models, entries);
    expect(text.includes('"path": "/data/general.jsonl"')).toBe(generalIds.length > 0);
    const { form: back, notes } = fromRunJson(text, 'RUN.json', models, entries);
    expect(notes).toEqual([]);
    expect(toDraft(back)).toEqual(toDraft(given));
  }
});

test('methods at work together are one method of the draft, and apart again in a form', () => {
  const parts = [
    { name: 'lora', options: { rank: 8 } },
    { name: 'expert-condenser', options: {} },
  ];
  const together = { ...form, parts };
  expect(toDraft(together).method).toEqual({ name: 'compose', options: { methods: parts } });
  const run = fromRunJson(toRunJson(together, models, datasets), 'RUN.json', models, datasets);
  expect(run.form.parts).toEqual(parts);
  const against = {
    methods: [
      { key: 0, parts },
      { key: 1, parts: parts.slice(0, 1) },
    ],
    seeds: [1],
  };
  const text = toRunJson({ ...form, compared: against }, models, datasets);
  const comparison = fromRunJson(text, 'COMPARISON.json', models, datasets);
  expect(comparison.form.compared).toEqual(against);
});

test('an import says which files are not in the lists, and which field is wrong', () => {
  const text = JSON.stringify({
    model: { path: 'x/other' },
    data: { train: [{ path: 'gsm8k.jsonl' }] },
    method: { name: 'full' },
  });
  const { form: got, notes } = fromRunJson(text, 'RUN.json', models, datasets);
  expect(got.trainIds).toEqual(['data_gsm8k']);
  expect(got.modelId).toBeUndefined();
  expect(notes).toEqual(['The model x/other is not in the list: add its folder under Models.']);
  expect(() => fromRunJson('{"modle":{}}', 'RUN.json', models, datasets)).toThrow('did you mean model?');
  expect(() => fromRunJson('{', 'RUN.json', models, datasets)).toThrow('RUN.json is not JSON');
});

const compared = {
  ...form,
  compared: {
    methods: [
      { key: 0, parts: [{ name: 'full', options: {} }] },
      { key: 1, parts: [{ name: 'lora', options: { rank: 8 } }] },
    ],
    seeds: [1, 2],
  },
};
const terms = {
  methods: [
    { name: 'full', options: {} },
    { name: 'lora', options: { rank: 8 } },
  ],
  seeds: [1, 2],
};

test('a comparison has methods and seeds in place of a method and a seed, and comes back from its document', () => {
  const draft = toComparison({
    ...compared,
    sections: { ...compared.sections, train: { steps: 20, seed: 5 } },
  });
  expect(draft).toMatchObject({ name: 'gsm8k', ...terms, train: { steps: 20 } });
  expect(draft).not.toHaveProperty('method');
  expect(draft.train).not.toHaveProperty('seed');
  const text = toRunJson(compared, models, datasets);
  const { form: back, notes } = fromRunJson(text, 'COMPARISON.json', models, datasets);
  expect(notes).toEqual([]);
  expect(toComparison(back)).toMatchObject({ ...terms, name: 'gsm8k' });
});

test('learning rates stay with their method, and the rate of the others with the training', () => {
  const swept = {
    ...compared,
    compared: {
      ...compared.compared,
      methods: [
        { key: 0, parts: [{ name: 'full', options: {} }], learningRates: [1e-4, 1e-3] },
        { key: 1, parts: [{ name: 'lora', options: {} }] },
      ],
    },
    sections: { ...compared.sections, train: { steps: 20, learningRate: 2e-5 } },
  };
  const { form: back } = fromRunJson(toRunJson(swept, models, datasets), 'COMPARISON.json', models, datasets);
  expect(toComparison(back)).toMatchObject({
    methods: [{ name: 'full', learningRates: [1e-4, 1e-3] }, { name: 'lora' }],
    train: { steps: 20, learningRate: 2e-5 },
  });
});

test('a comparison needs methods and seeds', () => {
  const none = { ...compared, compared: { methods: [], seeds: [] } };
  expect(missingParts(none)).toEqual(['methods to compare', 'a seed']);
  const twice = { ...compared, compared: { ...compared.compared, seeds: [3, 3] } };
  expect(() => toComparison(twice)).toThrow('a seed is given twice');
});
