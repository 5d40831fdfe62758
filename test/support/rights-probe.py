# Tries what a process that was taken over would try; one JSON list of attempts in, one JSON list of errno names out.
import ctypes, errno, json, os, signal, socket, sys

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16


def attempt(what):
    kind, path = what[0], what[1]
    if kind == 'read':
        os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1)
    elif kind == 'write':
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    elif kind == 'both':
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    elif kind == 'create':
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(path)
    elif kind == 'unlink':
        os.unlink(path)
    elif kind == 'rename':
        os.rename(path, what[2])
    elif kind == 'replace':
        # A file of one's own in the place of another's.
        own = what[2]
        os.close(os.open(own, os.O_WRONLY | os.O_CREAT, 0o600))
        os.rename(own, path)
    elif kind == 'list':
        os.listdir(path)
    elif kind == 'chmod':
        os.chmod(path, 0o777)
    elif kind == 'connect':
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(path)
    elif kind == 'kill':
        os.kill(int(path), getattr(signal, what[2]))
    elif kind == 'ptrace':
        if libc.ptrace(PTRACE_ATTACH, int(path), None, None) < 0:
            raise OSError(ctypes.get_errno(), 'ptrace')
    elif kind == 'raise':
        os.setuid(int(path))
    elif kind == 'group':
        os.setgroups([int(path)])
    else:
        raise SystemExit(f'no such attempt: {kind}')


def outcome(what):
    try:
        attempt(what)
        return 'done'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


print(json.dumps([outcome(what) for what in json.load(sys.stdin)]))
