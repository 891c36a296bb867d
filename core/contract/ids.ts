/** Identifiers that cross a boundary. They are opaque strings: only the host makes them. */
import { z } from 'zod';

const id = (prefix: string) => z.string().regex(new RegExp(`^${prefix}_[A-Za-z0-9_-]{1,80}$`));

/** Name of a run and of its folder below `runs/`. */
export const RunId = id('run');
export type RunId = z.infer<typeof RunId>;

/** A checkpoint folder the user added. */
export const ModelId = id('model');
export type ModelId = z.infer<typeof ModelId>;

/** A data set the user imported. */
export const DatasetId = id('data');
export type DatasetId = z.infer<typeof DatasetId>;

/** A path the host registered for the renderer, which never sees the path itself. */
export const FileHandle = id('file');
export type FileHandle = z.infer<typeof FileHandle>;
