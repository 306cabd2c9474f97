import { openLab } from './sandbox-lab.ts';

/** A server in small: starts the named sandboxes over a state directory, says so, and holds the runtime until it is killed. */
const [stateDir, ...ids] = process.argv.slice(2);
const lab = await openLab(stateDir);
for (const id of ids) {
  await lab.start(id, { env: { GIVEN: 'earlier' } });
  await lab.sh(id, `echo ${id} > /root/started; sleep 5000 > /dev/null 2>&1 &`);
}
console.log('ready');
setInterval(() => {}, 60_000);
