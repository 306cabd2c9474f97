import { z } from 'zod';
import type { Toolbox } from '../../../sandboxes/toolbox/index.ts';
import type { Sessions } from '../../../sandboxes/toolbox/sessions/index.ts';

export interface ToolboxRouteDeps {
  toolbox: Toolbox;
  sessions: Sessions;
  version: string;
  /** Where uploads wait whose path is not known yet. */
  spoolDirectory: string;
}

export const toolboxParams = z.object({ sandboxId: z.string() });
