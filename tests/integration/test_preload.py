"""The preloaded library, inside the image it was built in: Python there is the program that it is loaded into."""

import json
from collections.abc import Callable
from typing import Any

import docker
import pytest

# The part that is not preloaded: the reader. Its `child` runs code that is; what that code binds to `result` comes back.
READER = r"""
import json, os, select, signal, socket, subprocess, sys, threading, time

LOG = "/run/postroad/log"
PRELUDE = '''
import ctypes, errno, json, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def log(text, priority=22): libc.syslog(priority, b"%s", text.encode())
def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try: found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError: pass
    return found
def ours(): return [each for each, target in descriptors().items() if each > 2 and target.startswith("socket:")]
def step(): print("step", flush=True); sys.stdin.readline()
result = None
'''

def bind():
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader.setblocking(False)
    reader.bind(LOG)
    return reader

def received(reader):
    found = []
    while True:
        try: found.append(reader.recv(1 << 18).decode())
        except BlockingIOError: return found

def start(code, **environment):
    environment = {"LD_PRELOAD": "/usr/local/lib/postroad/preload.so", "POSTROAD_LOG_SOCKET": LOG, **environment}
    return subprocess.Popen([sys.executable, "-c", PRELUDE + code + "\nprint(json.dumps(result))"], env=environment,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def finish(child):
    out = child.communicate()[0]
    assert child.returncode == 0, child.returncode
    return json.loads(out.splitlines()[-1])

def child(code, **environment): return finish(start(code, **environment))
def until_step(child): assert child.stdout.readline() == "step\n"
def go_on(child): child.stdin.write("\n"); child.stdin.flush()

got = None
"""


@pytest.fixture(scope="module")
def inside(image: str) -> Callable[[str], Any]:
    """Run the reader's code in a container of the image, and return what it binds to ``got``."""
    client = docker.from_env()

    def run(code: str) -> Any:
        output = client.containers.run(
            image,
            entrypoint="/usr/bin/python3",
            command=["-c", f"{READER}{code}\nprint(json.dumps(got))"],
            remove=True,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            tmpfs={
                "/run/postroad": "mode=0700,uid=2525,gid=2525",
                # else volumes without a name would stay
                "/var/spool/mqueue": "",
                "/var/lib/postroad": "",
            },
            hostname="short",
        )
        return json.loads(output)

    return run


Inside = Callable[[str], Any]


# --- gethostname() ---


def test_the_host_name_is_the_configured_one(inside: Inside) -> None:
    code = "got = [child('result = socket.gethostname()', POSTROAD_FQDN=name) for name in ('mail.sender.example', '')]"
    assert inside(code) == ["mail.sender.example", "short"]


def test_a_name_that_does_not_fit_is_an_error_as_in_libc(inside: Inside) -> None:
    code = r"""
got = child('''
def ask(size, function=libc.gethostname, *more):
    room = ctypes.create_string_buffer(b"#" * 30, 31)
    ctypes.set_errno(0)
    return [function(room, size, *more), ctypes.get_errno() == errno.ENAMETOOLONG, room.value.decode()]
result = [ask(5), ask(15), ask(16), ask(30, libc.__gethostname_chk, 30), ask(30, libc.__gethostname_chk, 5)]
''', POSTROAD_FQDN="mail.my.example")
"""
    cut = "mail." + "#" * 25
    assert inside(code) == [
        [-1, True, cut],
        [-1, True, "mail.my.example" + "#" * 15],
        [0, False, "mail.my.example"],
        [0, False, "mail.my.example"],
        [-1, True, cut],
    ]


def test_the_environment_may_be_emptied_before_the_first_call(inside: Inside) -> None:
    code = """
reader = bind()
got = child('os.environ.clear(); libc.clearenv(); result = socket.gethostname(); log("x")', POSTROAD_FQDN="a.example")
got = [got, len(received(reader))]
"""
    assert inside(code) == ["a.example", 1]


# --- syslog() ---


def test_each_function_sends_a_datagram(inside: Inside) -> None:
    code = """
reader = bind()
pid = child('''
result = os.getpid()
unused = ctypes.create_string_buffer(64)  # a va_list, for a format that takes nothing from it
libc.syslog(6, b"before openlog")
libc.openlog(b"sendmail", 0, 16)
libc.syslog(6, b"the default facility")
libc.syslog(9 * 8 + 3, b"another %s and %d", b"facility", 7)
libc.__syslog_chk(6, 1, b"checked %s", b"words")
libc.vsyslog(6, b"plain", unused)
libc.__vsyslog_chk(6, 1, b"plain, checked", unused)
libc.closelog()
libc.setlogmask(1)
libc.syslog(7, b"two lines\\\\nand newlines\\\\n\\\\n")
libc.syslog(6, b"")
''')
got = [each.replace(f"[{pid}]", "[PID]") for each in received(reader)]
"""
    assert inside(code) == [
        "<14>unknown[PID]: before openlog",
        "<22>sendmail[PID]: the default facility",
        "<75>sendmail[PID]: another facility and 7",
        "<22>sendmail[PID]: checked words",
        "<22>sendmail[PID]: plain",
        "<22>sendmail[PID]: plain, checked",
        "<23>sendmail[PID]: two lines\nand newlines",
        "<22>sendmail[PID]: ",
    ]


def test_a_process_ends_that_has_no_room_for_a_bounce(inside: Inside) -> None:
    """sendmail would drop the message and the bounce; no text of a client's ends anything."""
    code = """
reader = bind()
text = "returntosender: cannot select queue for <app@sender.example>"
lines = [
    f"6ARH8Qkb000207: SYSERR(smmta): {text}",
    f"6ARH8Qkb000207: SYSERR(smmta): {text[1:]}",
    f"6ARH8Qkb000207: to=<a: SYSERR(smmta): {text}",
    f"6ARH8Qkb000207: from=<app@sender.example>: SYSERR(smmta): {text}",
    f"6ARH8Qkb000207: SYSERR(smmta): x: SYSERR(smmta): {text}",
    f"{text}: SYSERR(smmta): {text}: 6ARH8Qkb000207",
    "SYSERR(smmta", "6ARH8Qkb000207: SYSERR(", ":", "",
]
def ended(line):
    child = start(f"log({line!r})")
    child.communicate()
    return child.returncode
got = [[ended(line) for line in lines], len(received(reader))]
"""
    assert inside(code) == [[75] + [0] * 9, 10]


def test_errno_is_the_callers(inside: Inside) -> None:
    code = """
def errnos():
    return child('''
result = []
for words in (b"x", b"y" * 5000):
    ctypes.set_errno(errno.ENOSPC)
    libc.syslog(22, b"%s: %m", words)
    result.append(ctypes.get_errno() == errno.ENOSPC)
''')
without = errnos()
reader = bind()
got = [without, errnos(), [each[-26:] for each in received(reader)]]
"""
    assert inside(code) == [[True, True], [True, True], ["x: No space left on device", "y: No space left on device"]]


def test_a_long_line_is_whole_and_a_monstrous_one_is_cut(inside: Inside) -> None:
    code = """
reader = bind()
child('[log("a" * size + "z") for size in (1900, 2100, 60000, 100000)]')
got = [[len(each), each[-1]] for each in received(reader)]
"""
    (short, longer, long, cut) = inside(code)
    prefix = short[0] - 1901
    assert [short, longer, long] == [[prefix + size + 1, "z"] for size in (1900, 2100, 60000)]
    assert cut == [65535, "a"]


def test_without_a_socket_nothing_happens(inside: Inside) -> None:
    code = """
nameless = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
nameless.setblocking(False)
nameless.bind(b"\\0" * 108)
start_time = time.monotonic()
child('[log("x") for _ in range(100)]')
child('[log("x") for _ in range(100)]', POSTROAD_LOG_SOCKET="")
child('[log("x") for _ in range(100)]', POSTROAD_LOG_SOCKET="/" + "x" * 200)
got = [time.monotonic() - start_time, received(nameless)]
"""
    seconds, elsewhere = inside(code)
    assert seconds < 3
    assert elsewhere == []


# --- the descriptor ---


def test_one_high_descriptor_that_a_program_does_not_pass_on(inside: Inside) -> None:
    code = """
reader = bind()
got = child('''
import fcntl
log("x"); log("y")
result = [ours(), [fcntl.fcntl(each, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for each in ours()]]
''')
"""
    descriptors, flags = inside(code)
    assert len(descriptors) == 1
    assert descriptors[0] >= 200
    assert flags == [1]


def test_a_low_limit_on_open_files(inside: Inside) -> None:
    code = """
reader = bind()
child('import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); log("x")')
got = len(received(reader))
"""
    assert inside(code) == 1


def test_a_program_may_close_it(inside: Inside) -> None:
    code = """
reader = bind()
got = child('log("x"); os.closerange(3, 1000); log("y"); log("z"); result = len(ours())')
got = [got, [each[-1] for each in received(reader)]]
"""
    assert inside(code) == [1, ["x", "y", "z"]]


@pytest.mark.parametrize("other", ["os.pipe()", "[each.detach() for each in socket.socketpair()]"])
def test_nothing_is_written_to_what_has_taken_its_number(inside: Inside, other: str) -> None:
    code = f"""
reader = bind()
got = child('''
log("x")
(number,) = ours()
read, write = {other}
os.dup2(write, number)
log("y")
os.set_blocking(read, False)
try: result = os.read(read, 100).decode()
except BlockingIOError: result = "nothing"
''')
got = [got, [each[-1] for each in received(reader)]]
"""
    assert inside(code) == ["nothing", ["x", "y"]]


def test_children_use_it_as_well(inside: Inside) -> None:
    code = """
reader = bind()
pid = child('''
log("parent")
child = os.fork()
if child == 0:
    log("child"); os._exit(0)
os.waitpid(child, 0)
log("parent again")
result = [os.getpid(), child]
''')
got = [each.replace(str(pid[0]), "P").replace(str(pid[1]), "C").split("unknown")[1] for each in received(reader)]
"""
    assert inside(code) == ["[P]: parent", "[C]: child", "[P]: parent again"]


def test_threads(inside: Inside) -> None:
    code = """
reader = bind()
found, ended = [], threading.Event()
def read():
    while not ended.is_set() or select.select([reader], [], [], 0)[0]:
        if select.select([reader], [], [], 0.05)[0]:
            found.extend(received(reader))
thread = threading.Thread(target=read); thread.start()
count = child('''
def work(name):
    for number in range(300):
        log(f"{name}{number}" + "x" * (3000 if number % 10 == 0 else 0))
threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
result = len(ours())
''')
ended.set(); thread.join()
names = [each.split(": ")[1].rstrip("x") for each in found]
got = [count, len(names), names and sorted(names) == sorted(f"{a}{b}" for a in "abcdefgh" for b in range(300)),
       [name for name in names if name[0] == "a"] == [f"a{number}" for number in range(300)]]
"""
    assert inside(code) == [1, 2400, True, True]


# --- a reader that is slow or gone ---


def test_a_reader_that_is_stuck_costs_a_second_once_and_hears_of_the_loss(inside: Inside) -> None:
    code = """
reader = bind()
writer = start('''
begin = time.monotonic()
for number in range(200): log(str(number))
result = time.monotonic() - begin
step()
log("back"); log("again")
''')
until_step(writer)
first = received(reader)
go_on(writer)
seconds = finish(writer)
got = [seconds, len(first), [each.split(": ", 1)[1] for each in received(reader)]]
"""
    seconds, arrived, after = inside(code)
    assert 0.8 < seconds < 3
    assert 0 < arrived < 200
    assert after == [f"postroad-preload: {200 - arrived} lines lost", "back", "again"]


def test_a_slow_reader_loses_nothing(inside: Inside) -> None:
    code = """
reader = bind()
writer = start('[log(str(number)) for number in range(100)]')
found = []
while writer.poll() is None or select.select([reader], [], [], 0)[0]:
    time.sleep(0.02)
    found += received(reader)
finish(writer)
got = [each.split(": ", 1)[1] for each in found]
"""
    assert inside(code) == [str(number) for number in range(100)]


def test_a_reader_that_is_gone_costs_no_time_and_may_come_back(inside: Inside) -> None:
    code = """
reader = bind()
writer = start('''
log("x"); step()
begin = time.monotonic()
for number in range(50): log(str(number))
result = time.monotonic() - begin
step()
log("back")
''')
until_step(writer); before = received(reader)
reader.close(); os.unlink(LOG)
go_on(writer); until_step(writer)
reader = bind()
go_on(writer)
got = [finish(writer), len(before), [each.split(": ", 1)[1] for each in received(reader)]]
"""
    seconds, before, after = inside(code)
    assert seconds < 0.5
    assert before == 1
    assert after == ["postroad-preload: 50 lines lost", "back"]


FIFO = r"""
reader = bind()
os.mkfifo(LOG + ".fifo")
fifo = os.open(LOG + ".fifo", os.O_RDWR | os.O_NONBLOCK)
def lines():
    try: return [line.decode() for line in os.read(fifo, 1 << 20).split(b"\0")[:-1]]
    except BlockingIOError: return []
"""


def test_lines_wait_in_the_fifo_where_there_is_one_and_long_ones_take_the_socket(inside: Inside) -> None:
    code = r"""
child('log("one"); log("two" + chr(10) + "lines"); log("x" * 5000)')
got = [lines(), [len(line) for line in received(reader)]]
"""
    waiting, sent = inside(FIFO + code)
    assert [line.partition(": ")[2] for line in waiting] == ["one", "two\nlines"]
    assert len(sent) == 1
    assert sent[0] > 5000


def test_a_fifo_that_is_full_costs_a_second_once_and_its_reader_hears_of_the_loss(inside: Inside) -> None:
    code = r"""
for size in (4096, 1):
    try:
        while True: os.write(fifo, b"x" * size)
    except BlockingIOError: pass
kid = start('''
def timed(text): begin = time.monotonic(); log(text); return time.monotonic() - begin
result = [timed("lost"), timed("lost, too")]
step(); log("heard")
''')
until_step(kid)
lines()
go_on(kid)
got = [finish(kid), [line.partition(": ")[2] for line in lines()]]
"""
    (first, second), heard = inside(FIFO + code)
    assert 0.9 < first < 3
    assert second < 0.5
    assert heard == ["postroad-preload: 2 lines lost", "heard"]


def test_a_child_neither_waits_for_a_stuck_reader_nor_tells_of_its_parents_losses(inside: Inside) -> None:
    code = """
reader = bind()
writer = start('''
for number in range(50): log(str(number))
def fork(*texts):
    child = os.fork()
    if child == 0:
        begin = time.monotonic()
        [log(text) for text in texts]
        os._exit(time.monotonic() - begin > 0.5)
    return os.waitpid(child, 0)[1]
waited = fork("lost")
step()
fork("child")
log("parent")
result = waited
''')
until_step(writer)
lost = 50 - len(received(reader))
go_on(writer)
got = [finish(writer), lost, [each.split(": ", 1)[1] for each in received(reader)]]
"""
    waited, lost, after = inside(code)
    assert waited == 0
    assert after == ["child", f"postroad-preload: {lost} lines lost", "parent"]


# --- connections ---


def test_tcp_sends_at_once_from_both_ends(inside: Inside) -> None:
    code = """
got = child('''
def at_once(number):
    with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as each:
        return each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
listener, client = socket.create_server(("127.0.0.1", 0)), socket.socket()
place = socket.AF_INET.to_bytes(2, "little") + listener.getsockname()[1].to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
connected = libc.connect(client.fileno(), place, len(place))
peer, length = ctypes.create_string_buffer(28), ctypes.c_int(28)
accepted = libc.accept(listener.fileno(), peer, ctypes.byref(length))
result = [connected, at_once(client.fileno()), at_once(accepted)]
''')
"""
    assert inside(code) == [0, 1, 1]


def test_other_sockets_connect_as_ever(inside: Inside) -> None:
    code = """
reader = bind()
got = child('''
result = []
for kind, family, place in (
    (socket.SOCK_DGRAM, socket.AF_UNIX, b"/run/postroad/log"),
    (socket.SOCK_DGRAM, socket.AF_INET, bytes([0, 9, 127, 0, 0, 1]) + bytes(8)),
    (socket.SOCK_STREAM, socket.AF_INET, bytes([0, 9, 127, 0, 0, 1]) + bytes(8)),
):
    place = family.to_bytes(2, "little") + place
    with socket.socket(family, kind) as each:
        ctypes.set_errno(0)
        result.append([libc.connect(each.fileno(), place, len(place)), ctypes.get_errno() == errno.ECONNREFUSED])
''')
"""
    assert inside(code) == [[0, False], [0, False], [-1, True]]


# --- the end of a process ---


def test_a_forked_child_leaves_out_what_libraries_do_at_the_end(inside: Inside) -> None:
    code = """
writer = start('''
holding = ctypes.PyDLL(None)  # with the lock that Python's own functions want
@ctypes.CFUNCTYPE(None, ctypes.c_char_p)
def of_a_library(text): os.write(1, text)
libc.__cxa_atexit(of_a_library, b"library ", None)
for _ in range(100):  # libsm registers again and again
    libc.__cxa_atexit(ctypes.pythonapi.PyRun_SimpleString, b"print('program', end=' ', flush=True)", None)
child = os.fork()
if child == 0:
    holding.exit(75)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), end=" ", flush=True)
holding.exit(3)
''')
got = [writer.communicate()[0].split(), writer.returncode]
"""
    # the program itself does all, last registered first
    assert inside(code) == [["program", "75", *["program"] * 100, "library"], 3]


# --- children ---


FORKS = """
got = child('''
def fork():  # Python's own refuses to return twice in one process
    return libc.fork()
def told(read): return os.read(read, 100).decode()
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client_of_server = libc.accept(listener.fileno(), None, None) if ACCEPTED else -1
(answer, say), (go, let_go), (ready, tell) = os.pipe(), os.pipe(), os.pipe()
server = fork()
if server == 0:
    first = fork()
    if first == 0:
        second = fork()
        if second == 0:
            os.read(go, 1)
            os.write(say, f"{os.getpid()} ".encode())
            os.write(tell, b"x")
            os.read(go, 1)
        os._exit(0)
    begun = time.monotonic()
    waited = libc.wait(None)  # as sendmail waits for the first
    os.write(say, f"{first} {waited} {time.monotonic() - begun < 5} ".encode())
    os.write(let_go, b"x")
    os.read(ready, 1)
    os.write(say, f"{libc.waitpid(-1, None, os.WNOHANG)} ".encode())  # as its handler of SIGCHLD asks
    os.write(let_go, b"x")
    try: os.write(say, str(libc.waitpid(-1, None, 0)).encode())
    finally: os._exit(0)
libc.waitpid(server, None, 0)
result = told(answer).split()
''')
"""


def test_a_delivery_is_one_fork_and_nobody_waits_for_its_end(inside: Inside) -> None:
    first, waited, _, delivering, unfinished, ended = inside(FORKS.replace("ACCEPTED", "True"))
    # the first child does the work of the second, is taken for ended when it has not begun, and reaped when it has ended
    assert first == waited == delivering == ended
    assert unfinished == "0"


def test_who_serves_no_client_forks_as_ever(inside: Inside) -> None:
    first, waited, _, *rest = inside(FORKS.replace("ACCEPTED", "False"))
    assert first == waited  # a child that has forked and ended
    assert first not in rest


def test_clients_names_are_not_asked_for(inside: Inside) -> None:
    code = """
got = child('''
libc.gethostbyaddr.restype = ctypes.c_void_p
result = libc.gethostbyaddr(bytes([127, 0, 0, 1]), 4, socket.AF_INET)
''')
"""
    assert inside(code) is None


def test_its_own_name_is_asked_for_once_and_known(inside: Inside) -> None:
    code = """
got = child('''
class Host(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("aliases", ctypes.POINTER(ctypes.c_char_p)), ("family", ctypes.c_int),
                ("length", ctypes.c_int), ("addresses", ctypes.POINTER(ctypes.c_void_p))]
libc.gethostbyname2.restype = ctypes.POINTER(Host)
result = []
for name in (b"localhost", b"Relay.TEST.invalid", b"relay.test.invalid"):
    host = libc.gethostbyname2(name, socket.AF_INET)
    result.append([host[0].name.decode(), host[0].family, host[0].length, bool(host[0].addresses[0])] if host else None)
''', POSTROAD_FQDN="relay.test.invalid")
"""
    others, own, later = inside(code)
    assert others == ["localhost", 2, 4, True]
    assert own == ["relay.test.invalid", 2, 4, True]
    assert later is None, "a delivery to a host of this name asks the DNS"


def test_a_file_with_the_number_of_a_connection_that_was_closed_is_written_as_ever(inside: Inside) -> None:
    code = """
got = child(r'''
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
number = client.fileno()
libc.close(number)
client.detach()
made = os.open("/run/postroad/file", os.O_RDWR | os.O_CREAT)
assert made == number
result = [libc.write(made, b"text", 4), os.lseek(made, 0, 0), os.read(made, 10).decode()]
''', POSTROAD_ATTEMPT_TIMEOUT="60")
"""
    assert inside(code) == [4, 0, "text"]


def test_a_connection_that_goes_on_for_too_long_times_out_however_much_comes(inside: Inside) -> None:
    code = """
got = child(r'''
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
begin, seen = time.monotonic(), 0
while True:
    server.send(b"220-wait")
    try: os.read(client.fileno(), 100)
    except TimeoutError: break
    seen += 1
    time.sleep(0.1)
result = [time.monotonic() - begin, seen]
''', POSTROAD_ATTEMPT_TIMEOUT="1")
"""
    took, seen = inside(code)
    assert 1 <= took < 3
    assert seen > 2
