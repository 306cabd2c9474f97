import { z } from 'zod';
import type { Toolbox } from '../../../sandboxes/toolbox/index.ts';

export interface ToolboxRouteDeps {
  toolbox: Toolbox;
  version: string;
  /** Where uploads wait whose path is not known yet. */
  spoolDirectory: string;
}

export const toolboxParams = z.object({ sandboxId: z.string() });
