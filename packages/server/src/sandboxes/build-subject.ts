import type { BuildSubject, FindSubject } from '../builds/subject.ts';
import { moveSandbox } from '../lifecycle/move.ts';
import { finishLaunch, runContainer } from './launch.ts';
import { withClass } from './sandbox-class.ts';
import type { SandboxContext, SandboxRow } from './types.ts';

const ACTOR = 'job:snapshot.build';
const WAITING = ['pending_build', 'building_snapshot'] as const;

/** A sandbox as what a build is for: it waits in `pending_build`, and starts when the build is done. */
export function sandboxSubject(context: SandboxContext): FindSubject {
  const { db } = context;
  const { instanceId } = context.settings;
  return ({ sandbox_id: id }): BuildSubject | undefined => {
    if (id === null) return undefined;
    let built: SandboxRow | undefined;
    return {
      kind: 'sandbox',
      id,
      isBuilding: (state) => WAITING.some((waiting) => waiting === state),
      take: () =>
        moveSandbox(db, id, {
          from: WAITING,
          to: 'pending_build',
          actor: ACTOR,
          heldBy: instanceId,
          unowned: true,
          ownerId: instanceId,
          durable: false,
        }),
      async begin() {
        const moved = await moveSandbox(db, id, {
          from: ['pending_build'],
          to: 'building_snapshot',
          actor: ACTOR,
          heldBy: instanceId,
          ownerId: instanceId,
          durable: false,
        });
        return moved !== undefined;
      },
      async succeed({ layers, config }) {
        built = await moveSandbox(db, id, {
          from: ['building_snapshot'],
          to: 'creating',
          actor: ACTOR,
          heldBy: instanceId,
          ownerId: instanceId,
          set: {
            layers,
            image: JSON.stringify(withClass(config, 'container')),
            entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
          },
        });
        return built !== undefined;
      },
      async fail(trx, { reason, code }) {
        const move = { from: WAITING, to: 'error', actor: ACTOR, heldBy: instanceId, reason, errorCode: code } as const;
        return (await moveSandbox(trx, id, move)) !== undefined;
      },
      onBuilt() {
        if (built === undefined) return;
        const running = runContainer(context, built, 'creating');
        context.background('start a sandbox that was built', finishLaunch(context, SYSTEM, built, 'creating', running));
      },
    };
  };
}

const SYSTEM = { actor: ACTOR } as const;
