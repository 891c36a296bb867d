import { useMutation, type UseMutationResult, useQueryClient } from '@tanstack/react-query';
import { useLocation } from 'wouter';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import type { Client } from '../../api/client.ts';
import type { RegisteredFile } from '../../api/transport.ts';
import { useClient } from '../../api/use-host.ts';

/** A picked or dropped file, or a path typed by hand. */
export type ImportSource = { readonly file: File } | { readonly path: string } | RegisteredFile;

/** Makes the file of `source` known to the host. @throws UserError as `Client.call` does. */
export async function register(client: Client, source: ImportSource): Promise<RegisteredFile> {
  if ('handle' in source) return source;
  if ('file' in source) return client.register(source.file);
  return client.call('files.register', source);
}

/** Imports a data set and opens it. */
export function useImport(): UseMutationResult<DatasetEntry, Error, ImportSource> {
  const client = useClient();
  const queries = useQueryClient();
  const [, navigate] = useLocation();
  return useMutation({
    mutationFn: async (source: ImportSource) => {
      const { handle } = await register(client, source);
      return client.call('datasets.import', { handle });
    },
    onSuccess: async (entry) => {
      await queries.invalidateQueries({ queryKey: ['datasets.list'] });
      navigate(`/data/${entry.id}`);
    },
  });
}
