/** Keeps zod from compiling validators with `new Function`, which the content security policy refuses. Import it first. */
import { z } from 'zod';

z.config({ jitless: true });
