/** Milliseconds of the longest stop of programs that write without a break, seen by themselves. */
export interface StandStill {
  /** One appends to a file on the disk, the other to one in memory; while the work was done, and in half a second before. */
  disk: number;
  memory: number;
  diskBefore: number;
  memoryBefore: number;
}

/** Appends a few bytes every half millisecond until it is told to end; then the longest from one round to the next, before and after a mark. */
const BEAT = `import os,sys,time
f=open(sys.argv[1],'ab',buffering=0);longest=[0,0];last=time.monotonic()
while not os.path.exists('/dev/shm/end'):
  f.write(b'................')
  now=time.monotonic();phase=os.path.exists('/dev/shm/marked');longest[phase]=max(longest[phase],now-last);last=now;time.sleep(.0005)
print(longest[0]*1000,longest[1]*1000)`;

const HEAVY =
  'while [ ! -e /dev/shm/end ]; do for i in 1 2 3 4; do head -c 50000000 /dev/zero > /root/heavy$i; done; done';

/** `run` carries a script out inside and gives its output. */
export async function standStill(
  run: (script: string) => Promise<string>,
  load: 'nothing' | 'writes without end',
  work: () => Promise<unknown>,
): Promise<StandStill> {
  const beats = ['/root/beat', '/dev/shm/beat'].map((path) => run(`python3 -c "${BEAT}" ${path}`));
  const heavy = load === 'nothing' ? undefined : run(HEAVY);
  await run('until [ -s /root/beat ] && [ -s /dev/shm/beat ]; do sleep 0.01; done; sleep 0.5; touch /dev/shm/marked');
  await work();
  await run('touch /dev/shm/end');
  await heavy;
  const [disk, memory] = (await Promise.all(beats)).map((output) => output.trim().split(' ').map(Number));
  return {
    disk: disk?.[1] ?? Number.NaN,
    memory: memory?.[1] ?? Number.NaN,
    diskBefore: disk?.[0] ?? Number.NaN,
    memoryBefore: memory?.[0] ?? Number.NaN,
  };
}
