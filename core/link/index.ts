/** Message links between processes and hosts. */
export { coalesce, type Coalescer } from './coalesce.ts';
export { createLink, linkPair, type Link, type LinkEnd, type Transport, type Unsubscribe } from './link.ts';
export { processLink, type MessageProcess, type ProcessLink } from './process-link.ts';
export { connectLink, NOTICE_INTERVAL_MS, serveLink, type Client, type Service } from './rpc.ts';
