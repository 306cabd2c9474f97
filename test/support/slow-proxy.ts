import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';

export interface SlowProxy {
  url: string;
  /** Bytes that came from the server behind so far. */
  passed(): number;
  /** Resolves when so many bytes came through. */
  untilPassed(bytes: number): Promise<void>;
  /** Cuts every connection that is open now. */
  cut(): void;
  /** New rate, bytes a second; 0 stops the flow. */
  setRate(bytesPerSecond: number): void;
  close(): Promise<void>;
}

/** A TCP proxy on loopback that lets answers through at a bounded rate, so that a test can act in the middle of a transfer. */
export async function startSlowProxy(target: string, bytesPerSecond: number): Promise<SlowProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const waiting: { bytes: number; resolve: () => void }[] = [];
  let passed = 0;
  let rate = bytesPerSecond;

  const throttle = () =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        passed += chunk.length;
        for (const waiter of waiting) if (passed >= waiter.bytes) waiter.resolve();
        const pass = () => (rate === 0 ? setTimeout(pass, 50) : done(null, chunk));
        setTimeout(pass, rate === 0 ? 50 : (chunk.length / rate) * 1000);
      },
    });

  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.pipe(throttle()).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${address.port}`,
    passed: () => passed,
    untilPassed: (bytes) =>
      passed >= bytes ? Promise.resolve() : new Promise((resolve) => waiting.push({ bytes, resolve })),
    cut,
    setRate(next) {
      rate = next;
    },
    async close() {
      cut();
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
  };
}
