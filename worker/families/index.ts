/** The families that can be trained. Adding one means adding its file here. */
import { UserError } from '#core/contract/errors.ts';
import type { Family } from '#worker/model/index.ts';
import { afmoe } from './afmoe.ts';
import { cohere2Moe } from './cohere2-moe.ts';
import { deepseekV2, deepseekV3, glm4MoeLite } from './deepseek.ts';
import { llama, qwen2, qwen3 } from './dense-decoders.ts';
import { ernie45Moe } from './ernie-moe.ts';
import { flexOlmo } from './flex-olmo.ts';
import { dots1, exaoneMoe, glm4Moe, solarOpen } from './glm-moe.ts';
import { gptOss } from './gpt-oss.ts';
import { graniteMoe, graniteMoeShared } from './granite-moe.ts';
import { hunyuanV1Moe, hyV3 } from './hunyuan-moe.ts';
import { laguna } from './laguna.ts';
import { lfm2Moe } from './lfm2-moe.ts';
import { mellum } from './mellum.ts';
import { mimoV2Flash } from './mimo-v2-flash.ts';
import { minimaxM2 } from './minimax-m2.ts';
import { mixtral } from './mixtral.ts';
import { olmoe } from './olmoe.ts';
import { phimoe } from './phimoe.ts';
import { qwen2Moe, qwen3Moe } from './qwen-moe.ts';

const families: readonly Family[] = [
  olmoe,
  qwen2Moe,
  qwen3Moe,
  mixtral,
  llama,
  qwen2,
  qwen3,
  graniteMoe,
  graniteMoeShared,
  mellum,
  dots1,
  glm4Moe,
  hunyuanV1Moe,
  minimaxM2,
  flexOlmo,
  ernie45Moe,
  hyV3,
  solarOpen,
  exaoneMoe,
  deepseekV2,
  deepseekV3,
  glm4MoeLite,
  gptOss,
  afmoe,
  laguna,
  mimoV2Flash,
  phimoe,
  cohere2Moe,
  lfm2Moe,
];

/** Names of all families, for messages and documentation. */
export const familyNames: readonly string[] = families.map((family) => family.name);

/**
 * The family a `config.json` belongs to.
 * @throws UserError `config/unknown-family` naming what is supported.
 */
export function familyOf(config: Readonly<Record<string, unknown>>): Family {
  const type = config['model_type'];
  const family = families.find((candidate) => candidate.name === type);
  if (family === undefined) {
    throw new UserError(
      'config/unknown-family',
      typeof type === 'string'
        ? `config.json: model_type "${type}" is not a supported family`
        : 'config.json: model_type is missing',
      `Supported: ${familyNames.join(', ')}.`,
    );
  }
  return family;
}
