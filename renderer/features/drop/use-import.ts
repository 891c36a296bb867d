import { useMutation, type UseMutationResult, useQueryClient } from '@tanstack/react-query';
import { useLocation } from 'wouter';
import type { DatasetEntry } from '#core/contract/dataset.ts';
import { useClient } from '../../api/use-host.ts';

/** A picked or dropped file, or a path typed by hand. */
export type ImportSource = { readonly file: File } | { readonly path: string } | { readonly handle: string };

/** Imports a data set and opens it. */
export function useImport(): UseMutationResult<DatasetEntry, Error, ImportSource> {
  const client = useClient();
  const queries = useQueryClient();
  const [, navigate] = useLocation();
  return useMutation({
    mutationFn: async (source: ImportSource) => {
      let handle: string;
      if ('handle' in source) handle = source.handle;
      else if ('file' in source) handle = (await client.register(source.file)).handle;
      else handle = (await client.call('files.register', { path: source.path })).handle;
      return client.call('datasets.import', { handle });
    },
    onSuccess: async (entry) => {
      await queries.invalidateQueries({ queryKey: ['datasets.list'] });
      navigate(`/data/${entry.id}`);
    },
  });
}
