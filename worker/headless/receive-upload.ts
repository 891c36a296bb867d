/** Takes a file that was dropped on the page: a browser does not tell where it lies, so it is copied. */
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, statfs } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UserError } from '#core/contract/errors.ts';

/** Space that an upload leaves free for the rest of the machine. */
const KEEP_FREE_BYTES = 1e9;

/**
 * Streams the request's body into `folder` under the name in its URL; returns the path.
 * @throws UserError `upload/name`, `upload/too-large`
 */
export async function receiveUpload(request: IncomingMessage, folder: string): Promise<string> {
  const asked = new URL(request.url ?? '', 'http://host').searchParams.get('name') ?? '';
  const name = path.basename(asked.replaceAll('\\', '/')).replaceAll(/\p{Cc}/gu, '');
  if (name === '' || name === '.' || name === '..') {
    throw new UserError('upload/name', `${JSON.stringify(asked)} is no file name`, 'Rename the file.');
  }
  const { bavail, bsize } = await statfs(folder);
  const limit = bavail * bsize - KEEP_FREE_BYTES;
  const tooLarge = (): UserError =>
    new UserError(
      'upload/too-large',
      `${name}: there is no room for it in ${folder}`,
      'Free some space, or type the path of the file instead of dropping it.',
    );
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge();

  // A folder for each upload: two files may have the same name.
  const target = path.join(folder, randomBytes(6).toString('hex'));
  await mkdir(target);
  const partial = path.join(target, `${name}.partial`);
  let received = 0;
  const counted = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      received += chunk.length;
      if (received > limit) done(tooLarge());
      else done(null, chunk);
    },
  });
  try {
    await pipeline(request, counted, createWriteStream(partial, { flags: 'wx' }));
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    throw error;
  }
  const file = path.join(target, name);
  await rename(partial, file);
  return file;
}
