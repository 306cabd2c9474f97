import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { openLab, shell } from './sandbox-lab.ts';

/** A server in small that is in the middle of commands, of which one is meant to outlive it, until it is killed. */
const [stateDir = ''] = process.argv.slice(2);
const lab = await openLab(stateDir);
await lab.start('busy');
const command = await lab.runtime.exec('busy', shell('setsid sleep 5001 & (sleep 5001 &); echo begun; sleep 5001'));
await using output = await open(join(stateDir, 'kept-output'), 'w');
await lab.runtime.exec('busy', { ...shell('echo begun; sleep 5002'), outputFd: output.fd });
await lab.sh('busy', 'sleep 5003 > /dev/null 2>&1 &');
command.stdout.once('data', () => console.log('ready'));
setInterval(() => {}, 60_000);
