import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { openLab } from './sandbox-lab.ts';
import { stepSpec } from './step-lab.ts';

/** A server in small that is in the middle of steps, until it is killed. Says the host pids of what they run. */
const [stateDir = ''] = process.argv.slice(2);
const lab = await openLab(stateDir);
await lab.start('beside');
const script =
  'trap "" TERM PIPE HUP; setsid sh -c "trap \\"\\" PIPE; sleep 4999" & sleep 4999 & echo begun; wait; wait';
for (const network of ['default', 'none'] as const) {
  const step = await lab.runtime.steps.run(
    await stepSpec(lab, script, {
      network,
      mounts: [
        { kind: 'tmpfs', target: '/opt/memory', sizeBytes: undefined },
        { kind: 'layers', layers: [lab.baseLayer], path: '/', target: '/opt/from', writable: true },
        { kind: 'file', target: '/opt/secret', content: Buffer.from('x'), uid: 0, gid: 0, mode: 0o400 },
      ],
    }),
  );
  await once(step.stdout, 'data');
}
const found = execFileSync('pgrep', ['-f', '^sleep 4999']).toString();
console.log(JSON.stringify(found.trim().split('\n').map(Number)));
setInterval(() => {}, 60_000);
