/**
 * What runs in a sandbox's Python, given to it on its command line. Each line of its input is `{run, code, envs}` or
 * `{interrupt}`, named by a marker that nobody can guess; when a run is over, the marker is written to both outputs, and behind it
 * on the second how it ended. Everything else on the outputs is what the code wrote, also by itself, its children or its C.
 */
export const DRIVER = String.raw`
import json, linecache, os, queue, signal, sys, threading, traceback, types

def main():
    commands = os.fdopen(os.dup(0), 'rb')
    marks = os.dup(1), os.dup(2)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    module = types.ModuleType('__main__')
    module.__dict__['__builtins__'] = __builtins__
    sys.modules['__main__'] = module
    sys.argv = ['']
    own = sys.stdout, sys.stderr
    runs = queue.Queue()
    wanted = threading.Event()
    state = {'running': None, 'count': 0}
    main_thread = threading.get_ident()

    def on_interrupt(number, frame):
        if state['running'] is not None and state['running'] == state.get('interrupt'):
            raise KeyboardInterrupt

    def listen():
        for line in commands:
            command = json.loads(line)
            if 'run' in command:
                runs.put(command)
            else:
                state['interrupt'] = command['interrupt']
                wanted.set()
        # The server is gone. The next one ends this and all that it started; by itself it would leave its children behind.

    # Again and again: a call of system(3) ignores the signal while its child runs.
    def interrupt():
        while True:
            wanted.wait()
            wanted.clear()
            while state['running'] is not None and state['running'] == state.get('interrupt'):
                for child in children():
                    try:
                        os.kill(child, signal.SIGINT)
                    except OSError:
                        pass
                signal.pthread_kill(main_thread, signal.SIGINT)
                wanted.wait(0.3)

    def children():
        try:
            with open('/proc/self/task/%d/children' % threading.main_thread().native_id) as file:
                return [int(pid) for pid in file.read().split()]
        except (OSError, AttributeError):
            return []

    def describe(error):
        frames = traceback.extract_tb(error.__traceback__)
        skipped = next((i for i, frame in enumerate(frames) if frame.filename != '<string>'), len(frames))
        error = error.with_traceback(behind(error.__traceback__, skipped))
        name = type(error).__name__
        try:
            value = str(error)
        except Exception:
            value = ''
        try:
            text = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
        except Exception:
            text = name
        return {'name': name[:1000], 'value': value[:65536], 'traceback': text[-65536:]}

    def behind(trace, count):
        for _ in range(count):
            trace = trace.tb_next if trace is not None else None
        return trace

    def flush():
        for stream in (sys.stdout, sys.stderr) + own:
            try:
                stream.flush()
            except Exception:
                pass

    def write(fd, data):
        while data:
            data = data[os.write(fd, data):]

    def execute(command):
        state['count'] += 1
        name = '<interpreter %d>' % state['count']
        source = command['code']
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        signal.signal(signal.SIGINT, on_interrupt)
        before = dict(os.environ)
        os.environ.update(command.get('envs') or {})
        result = {}
        try:
            state['running'] = command['run']
            try:
                exec(compile(source, name, 'exec'), module.__dict__)
            except SystemExit as error:
                if error.code not in (None, 0):
                    result = describe(error)
            except BaseException as error:
                result = describe(error)
            finally:
                state['running'] = None
        except KeyboardInterrupt:
            state['running'] = None
        if command.get('envs'):
            for key in command['envs']:
                if key in before:
                    os.environ[key] = before[key]
                else:
                    os.environ.pop(key, None)
        flush()
        mark = b'\x1e' + command['run'].encode() + b'\x1e'
        write(marks[0], mark + b'\n')
        write(marks[1], mark + json.dumps(result).encode() + b'\n')

    signal.signal(signal.SIGINT, on_interrupt)
    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=interrupt, daemon=True).start()
    while True:
        execute(runs.get())

main()
`;
