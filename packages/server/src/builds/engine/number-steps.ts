import type { StageInstruction } from '../dockerfile/parse.ts';
import type { BuildPlan, PlannedStage } from '../dockerfile/plan.ts';
import type { StepDescription } from '../types.ts';

export interface NumberedStage {
  planned: PlannedStage;
  /** How people call it. */
  name: string;
  from: StepDescription;
  steps: { instruction: StageInstruction; description: StepDescription }[];
}

/** The stages that are built, in the order of the Dockerfile, with their steps counted through. */
export function numberSteps(plan: BuildPlan): NumberedStage[] {
  let number = 0;
  const inOrder = plan.stages.toSorted((a, b) => a.stage.index - b.stage.index);
  return inOrder.map((planned) => {
    const { stage } = planned;
    const name = stage.from.name ?? String(stage.index);
    const describe = ({ line, text }: { line: number; text: string }): StepDescription => {
      number += 1;
      return { number, stage: name, line, text };
    };
    const from = describe(stage.from);
    const steps = stage.instructions.map((instruction) => ({ instruction, description: describe(instruction) }));
    return { planned, name, from, steps };
  });
}

export function allSteps(stages: readonly NumberedStage[]): StepDescription[] {
  return stages.flatMap(({ from, steps }) => [from, ...steps.map(({ description }) => description)]);
}
