import { once } from 'node:events';
import { armFailpoints } from '../../platform/failpoints.ts';
import { openLab, shell } from './sandbox-lab.ts';

/** A server in small: starts the named sandboxes over a state directory, says so, and holds the runtime until it is killed. */
const [stateDir, ...args] = process.argv.slice(2);
const ids = args.filter((arg) => !arg.startsWith('--'));
const lab = await openLab(stateDir);
const diskBytes = Number(process.env.LAB_DISK_BYTES ?? 0);
const { limits } = lab.spec('any');
for (const id of ids) {
  await lab.start(id, { env: { GIVEN: 'earlier' }, limits: diskBytes > 0 ? { ...limits, diskBytes } : limits });
  await lab.sh(id, `echo ${id} > /root/started; sleep 5000 > /dev/null 2>&1 &`);
}
if (args.includes('--pause')) {
  for (const id of ids) {
    const command = await lab.runtime.exec(id, shell('echo begun; sleep 5000'));
    await once(command.stdout, 'data');
    await lab.runtime.pause(id);
  }
}
console.log('ready');
// Which container is which process of the machine, for who looks in after this one is gone.
if (args.includes('--capture')) {
  console.log(JSON.stringify(await lab.runtime.list()));
  armFailpoints(process.env.LAB_FAILPOINTS ?? '');
  for (const id of ids) await lab.runtime.capture(id);
}
setInterval(() => {}, 60_000);
