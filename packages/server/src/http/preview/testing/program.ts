import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { ExecProcess, SandboxRuntime } from '../../../runtime/types.ts';

/**
 * A program as people preview one: a server that says what it got, in whichever way its path asks for. Standard library only, and
 * a thread for each connection.
 */
const PROGRAM = String.raw`
import base64, hashlib, http.server, json, socket, struct, sys, threading, time

def say(*words):
    # Nobody may listen any more: a program outlives the server that started it.
    try: print(*words, flush=True)
    except OSError: pass

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): say('served')
    def handle_expect_100(self):
        if self.path == '/refuse':
            self.send_error(417); return False
        return super().handle_expect_100()
    def body(self):
        if self.headers.get('transfer-encoding') == 'chunked':
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size); self.rfile.readline()
            self.trailers = []
            while (line := self.rfile.readline().strip()): self.trailers.append(line.decode())
        else:
            left = int(self.headers.get('content-length') or 0)
            while left and (piece := self.rfile.read1(min(left, 65536))): left -= len(piece); yield piece
    def answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]: self.send_header(name.replace('_', '-'), one)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)
    def chunk(self, data): self.wfile.write(b'%x\r\n%s\r\n' % (len(data), data)); self.wfile.flush()
    def start_chunks(self, kind, **headers):
        self.send_response(200); self.send_header('Content-Type', kind); self.send_header('Transfer-Encoding', 'chunked')
        for name, value in headers.items(): self.send_header(name.replace('_', '-'), value)
        self.end_headers()
    def serve(self):
        path = self.path.split('?')[0]
        if self.headers.get('upgrade', '').lower() == 'websocket' and path != '/refuse': return self.websocket()
        if path == '/upload':
            total, digest = 0, hashlib.sha256()
            for piece in self.body(): total += len(piece); digest.update(piece)
            return self.answer(json.dumps([total, digest.hexdigest()]).encode())
        if path == '/never-reads': time.sleep(3600)
        data = b''.join(self.body())
        if path == '/events':
            self.start_chunks('text/event-stream')
            self.chunk(b'data: one\n\n')
            while self.rfile.read(1): pass
            return
        if path == '/gate':
            self.start_chunks('text/event-stream'); self.chunk(b'data: first\n\n')
            opened.wait(); self.chunk(b'data: second\n\n'); self.chunk(b''); return
        if path == '/open-gate': opened.set(); return self.answer(b'open')
        if path == '/wait':
            with waiting: count[0] += 1
            say('waiting', count[0])
            opened.wait(); return self.answer(b'waited')
        if path == '/reset':
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); self.connection.close()
            return
        if path == '/half': self.send_response(200); self.send_header('Content-Length', '1000'); self.end_headers(); self.wfile.write(b'half'); self.close_connection = True; return
        if path == '/nonsense': self.wfile.write(b'this is not HTTP\r\n\r\n'); self.close_connection = True; return
        if path == '/big':
            self.send_response(200); self.send_header('Content-Length', str(1 << 30)); self.end_headers()
            sent = 0
            try:
                while sent < 1 << 30: self.wfile.write(bytes(65536)); sent += 65536
            except OSError: pass
            say('sent', sent); self.close_connection = True; return
        if path == '/trailers':
            self.start_chunks('text/plain', Trailer='X-End'); self.chunk(b'body'); self.wfile.write(b'0\r\nX-End: reached\r\n\r\n'); return
        if path == '/redirect': return self.answer(b'', 302, Location='/login?next=1')
        if path == '/cookies': return self.answer(b'', Set_Cookie=['a=1; Path=/; Domain=localhost', 'b=2'])
        if path == '/early': self.wfile.write(b'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n')
        if path == '/bad-hints': self.wfile.write(b'HTTP/1.1 103 Early Hints\r\nLink: none at all; <\r\n\r\n')
        if path == '/bad-status': self.wfile.write(b'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n'); self.close_connection = True; return
        if path == '/bad-reason': self.wfile.write(b'HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n'); self.close_connection = True; return
        if path == '/bad-trailer': self.start_chunks('text/plain'); self.chunk(b'body'); self.wfile.write(b'0\r\nSet-Cookie: a\r\nX-Odd: \xff\r\n\r\n'); return
        if path == '/large-head': return self.answer(b'', X_Large='x' * 30000)
        self.answer(json.dumps({'method': self.command, 'path': self.path, 'headers': self.headers.items(), 'body': data.decode('latin1'), 'trailers': getattr(self, 'trailers', None)}).encode(), Content_Type='application/json')
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_PROPFIND = serve
    def websocket(self):
        key = self.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101); self.send_header('Upgrade', 'websocket'); self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()); self.end_headers()
        self.wfile.flush(); self.close_connection = True
        while (head := self.rfile.read(2)) and len(head) == 2:
            size = head[1] & 127
            if size == 126: size = struct.unpack('>H', self.rfile.read(2))[0]
            elif size == 127: size = struct.unpack('>Q', self.rfile.read(8))[0]
            mask = self.rfile.read(4); data = bytearray(self.rfile.read(size))
            for i in range(size): data[i] ^= mask[i & 3]
            extra = bytes([size]) if size < 126 else b'\x7e' + struct.pack('>H', size) if size < 65536 else b'\x7f' + struct.pack('>Q', size)
            self.wfile.write(bytes([head[0]]) + extra + bytes(data))
            if head[0] & 15 == 8: break
        say('closed')

opened, waiting, count = threading.Event(), threading.Lock(), [0]
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True
    def handle_error(self, *args): say('failed')
server = Server((sys.argv[1], int(sys.argv[2])), Handler)
say('listening')
server.serve_forever()
`;

export interface Program {
  /** Resolves when the program has said this, or had said it before. */
  said(words: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it in a sandbox that has Python; it listens when the promise resolves. */
export async function startProgram(
  runtime: SandboxRuntime,
  sandboxId: string,
  port: number,
  address = '127.0.0.1',
): Promise<Program> {
  const running: ExecProcess = await runtime.exec(sandboxId, {
    argv: ['python3', '-c', PROGRAM, address, String(port)],
    env: {},
    cwd: '/',
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root', name: 'root' },
  });
  running.stdin.end();
  running.stderr.resume();
  const lines: string[] = [];
  const reader = createInterface({ input: running.stdout });
  reader.on('line', (line) => {
    lines.push(line);
  });
  const program: Program = {
    async said(words) {
      while (!lines.includes(words)) {
        await Promise.race([
          once(reader, 'line'),
          running.exited.then(() => Promise.reject(new Error(`the program ended before it said ${words}`))),
        ]);
      }
    },
    stop: () => running.killTree(),
  };
  await program.said('listening');
  return program;
}
