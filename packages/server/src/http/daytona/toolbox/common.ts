import { z } from 'zod';
import type { Toolbox } from '../../../sandboxes/toolbox/index.ts';
import type { Interpreters } from '../../../sandboxes/toolbox/interpreter/index.ts';
import type { Sessions } from '../../../sandboxes/toolbox/sessions/index.ts';
import type { Terminals } from '../../../sandboxes/toolbox/terminals/index.ts';

export interface ToolboxRouteDeps {
  toolbox: Toolbox;
  sessions: Sessions;
  terminals: Terminals;
  interpreters: Interpreters;
  version: string;
  /** Where uploads wait whose path is not known yet. */
  spoolDirectory: string;
}

export const toolboxParams = z.object({ sandboxId: z.string() });
