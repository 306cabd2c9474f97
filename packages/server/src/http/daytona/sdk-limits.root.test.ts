import { describe, expect, test } from 'vitest';
import { busybox } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox, values: { disk: 1 } });
const { clients, connectNewest } = officialClients(lab);

describe.each(clients)('%s', (_name, connect) => {
  test('resizes a sandbox that runs and one that is stopped', async () => {
    const sandbox = await connect().create();
    try {
      await sandbox.resize({ cpu: 2, memory: 2 });
      expect([sandbox.state, sandbox.cpu, sandbox.memory, sandbox.disk]).toEqual(['started', 2, 2, 1]);
      await sandbox.stop();
      await sandbox.resize({ disk: 2 });
      expect([sandbox.state, sandbox.disk]).toEqual(['stopped', 2]);
      await sandbox.start();
      const { result } = await sandbox.process.executeCommand('df -m / | tail -1');
      expect(Number(result.trim().split(/\s+/)[1])).toBeGreaterThan(1900);
      await expect(sandbox.resize({ disk: 1 })).rejects.toThrow('can only be increased');
      await expect(sandbox.resize({ cpu: 500 })).rejects.toThrow('exceeds maximum allowed per sandbox');
    } finally {
      await sandbox.delete();
    }
  });

  test('pauses a sandbox, and starts it where it was', async () => {
    const sandbox = await connect().create();
    try {
      await sandbox.process.executeCommand('sleep 5000 >/dev/null 2>&1 & echo $! > /root/pid');
      await sandbox.pause();
      expect(sandbox.state).toBe('paused');
      await expect(sandbox.process.executeCommand('true')).rejects.toThrow('paused');
      await sandbox.start();
      expect(sandbox.state).toBe('started');
      expect((await sandbox.process.executeCommand('kill -0 $(cat /root/pid) && echo on')).result).toBe('on\n');
      await sandbox.pause();
      await sandbox.stop();
      expect(sandbox.state).toBe('stopped');
    } finally {
      await sandbox.delete();
    }
  });
});

test('the newest reads what a sandbox takes', async () => {
  const sandbox = await connectNewest().create();
  try {
    const metrics = await sandbox.getMetricsLatest();
    expect(metrics).toMatchObject({ cpuCount: 1, memTotal: 1024 ** 3 });
    expect(metrics.memUsed).toBeGreaterThan(0);
    expect(metrics.diskTotal).toBeGreaterThan(0.9 * 1024 ** 3);
    expect(metrics.diskUsed).toBeLessThan(metrics.diskTotal);
  } finally {
    await sandbox.delete();
  }
});
