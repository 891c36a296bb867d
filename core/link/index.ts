/** Message links between processes and hosts. */
export { coalesce } from './coalesce.ts';
export { createLink, linkPair, type Link } from './link.ts';
export { processLink } from './process-link.ts';
export { NOTICE_INTERVAL_MS, serveLink } from './rpc.ts';
