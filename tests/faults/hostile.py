"""Files made to do harm, and a process to read them in that may come to harm."""

import contextlib
import os
import pickle
import resource
import select
import struct
import sys
import tempfile
import traceback
from pathlib import Path

MEMORY = 1 << 30  # bytes a case may take beside what the process has
SECONDS = 10  # a case may take
MARKER = "executed"
# What no file may make us do. Files are written under the folder of the tests alone.
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn"),
    *("ctypes.dlopen", "socket.connect", "webbrowser.open", "shutil.rmtree"),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def trials(cases, read, refusals, folder):
    """Read each of ``cases`` in a child of little memory; what was wrong, by case.

    Args:
        cases: pairs of a name and what ``read`` is given.
        read: gives nothing, or raises what a user is told: an exception with a message.
        refusals: the exceptions that it may raise, and what their messages must name: a
            function of the case.
        folder: where all that is written goes.

    Returns:
        Complaints by the name of the case, and how many cases were refused.
    """
    cases, wrong, refused = list(cases), {}, 0
    done = 0
    while done < len(cases):
        source, sink = os.pipe()
        child = os.fork()
        if not child:
            os.close(source)
            _carry_out(cases[done:], read, refusals, folder, sink)
        os.close(sink)
        with open(source, "rb", buffering=0) as answers:  # noqa: PTH123
            while done < len(cases):
                answer = _line(answers) if select.select([answers], [], [], SECONDS)[0] else None
                name = cases[done][0]
                if not answer:  # it hangs, or is gone
                    break
                refused += answer == "refused"
                if answer not in ("read", "refused"):
                    wrong[name] = answer
                done += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if done < len(cases):
            wrong[cases[done][0]] = f"no answer in {SECONDS} s" if code == -9 else f"died ({code})"
            done += 1
    return wrong, refused


def _line(file):
    line = b""
    while not line.endswith(b"\n"):
        byte = file.read(1)
        if not byte:
            return None
        line += byte
    return line.decode().strip()


def _carry_out(cases, read, refusals, folder, sink):
    """In the child: read the cases, and tell of each."""
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    seen = []
    tempfile.tempdir = str(folder)
    sys.addaudithook(_watch(seen, Path(folder)))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for _, case in cases:
        seen.clear()
        try:
            read(case)
            answer = "read"
        except tuple(refusals) as error:
            named = refusals[next(k for k in refusals if isinstance(error, k))](case)
            answer = "refused" if str(named) in str(error) else f"not named: {error!r:.300}"
            if len(str(error)) > 5000:
                answer = f"a message of {len(str(error)):,} letters"
        except BaseException:
            answer = " | ".join(traceback.format_exc().strip().splitlines()[-7:])[-900:]
        if seen:
            answer = f"forbidden: {seen[0]}"
        os.write(sink, answer.replace("\n", " ").encode(errors="replace") + b"\n")
    os._exit(0)


def _watch(seen, folder):
    """A hook that notes what is forbidden."""
    allowed = (str(folder), "/dev/null", "/proc/", "/dev/shm")

    def look(event, arguments):
        if event.startswith(FORBIDDEN):
            seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            path = arguments[0]
            if isinstance(path, (str, bytes)) and not os.fsdecode(path).startswith(allowed):
                seen.append(f"{event} {path!r:.200}")
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink"):
            for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                if not os.path.abspath(os.fsdecode(path)).startswith(allowed):  # noqa: PTH100
                    seen.append(f"{event} {path!r:.200}")

    return look


def fuzzed(whole, count, chance):
    """``count`` copies of some bytes, each damaged: flipped, cut, grown or mixed up."""
    for number in range(count):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.randrange(len(content) + 1)
            other = chance.randrange(len(content) + 1)
            length = chance.choice((1, 2, 4, 8, 64))
            kind = chance.choice(("flip", "set", "cut", "drop", "insert", "splice", "large"))
            if kind == "flip" and place < len(content):
                content[place] ^= 1 << chance.randrange(8)
            elif kind == "set" and place < len(content):
                content[place] = chance.choice((0, 1, 127, 128, 255))
            elif kind == "cut":
                del content[place:]
            elif kind == "drop":
                del content[place : place + length]
            elif kind == "insert":
                content[place:place] = chance.randbytes(length)
            elif kind == "splice":
                content[place : place + length] = content[other : other + length]
            elif kind == "large":  # where a length may stand
                content[place : place + 4] = chance.choice((b"\xff" * 4, b"\x7f" + b"\xff" * 3))
        yield f"fuzzed {number}", bytes(content)


# Pickles: what they would call, and how they can say so.

GADGETS = {
    ("os", "system"): (f"touch {MARKER}",),
    ("posix", "system"): (f"touch {MARKER}",),
    ("nt", "system"): (f"touch {MARKER}",),
    ("subprocess", "Popen"): (["touch", MARKER],),
    ("builtins", "eval"): (f"open('{MARKER}', 'w')",),
    ("builtins", "exec"): (f"open('{MARKER}', 'w')",),
    ("__builtin__", "eval"): (f"open('{MARKER}', 'w')",),
    ("builtins", "open"): (MARKER, "w"),
    ("builtins", "getattr"): ("x", "__class__"),
    ("builtins", "__import__"): ("antigravity",),
    ("operator", "methodcaller"): ("system", "true"),
    ("operator", "attrgetter"): ("__globals__",),
    ("importlib", "import_module"): ("this",),
    ("functools", "partial"): (MARKER,),
    ("numpy", "load"): (MARKER, None, True),
    ("numpy", "fromfile"): ("/etc/passwd",),
    ("numpy", "ndarray.tofile"): (MARKER,),
    ("numpy", "core.multiarray.fromfile"): ("/etc/passwd",),
    ("numpy.testing._private.utils", "runstring"): (f"open('{MARKER}', 'w')", {}),
    ("pandas", "read_pickle"): ("http://127.0.0.1:9/x",),
    ("pandas.core.frame", "DataFrame.to_csv"): (MARKER,),
    ("pickle", "loads"): (b"cos\nsystem\n(S'touch executed'\ntR.",),
    ("torch", "load"): (MARKER,),
    ("shutil", "rmtree"): (".",),
    ("pty", "spawn"): ("true",),
    ("ctypes", "CDLL"): ("libc.so.6",),
    ("webbrowser", "open"): ("http://127.0.0.1:9",),
    ("sys", "exit"): (0,),
    ("os", "_exit"): (0,),
    ("_codecs", "decode"): (b"x", "utf-8"),
    ("copyreg", "_reconstructor"): (1, 2, 3),
    ("maf_runner.atomic", "write"): (MARKER, "x"),
}


def _argument(value):
    """The instructions that build a value, of any protocol from 2."""
    return pickle.dumps(value, protocol=2)[2:-1]


def programs():
    """Pickles that call each of the gadgets, in each way there is."""
    for (module, name), arguments in GADGETS.items():
        old = f"c{module}\n{name}\n".encode()
        new = (
            b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
            + b"\x93"
        )
        given = _argument(arguments)
        pieces = b"".join(map(_argument, arguments))
        yield from {
            f"{module}.{name} {how}": program
            for how, program in {
                "reduced": b"\x80\x02" + old + given + b"R.",
                "reduced, protocol 4": b"\x80\x04" + new + given + b"R.",
                "as a new object": b"\x80\x02" + old + given + b"\x81.",
                "with names": b"\x80\x04" + new + given + b"}\x92.",
                "as an instance": b"(" + pieces + f"i{module}\n{name}\n.".encode(),
                "as an object": b"(" + old + pieces + b"o.",
                "as a state": b"cnumpy\nndarray\n)R" + old + b"b.",
                "inside an array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
                b"K\x00\x85U\x01bt" + old + given + b"RR.",
            }.items()
        }.items()  # fmt: skip


def _thing(name, arguments, state=None):
    """Instructions: a name called with arguments, and given a state."""
    module, _, last = name.rpartition(".")
    built = f"c{module}\n{last}\n".encode() + arguments + b"R"
    return built if state is None else built + state + b"b"


ARRAY = "numpy.core.multiarray._reconstruct"
EMPTY = b"cnumpy\nndarray\nK\x00\x85U\x01b\x87"  # of these an array is begun


def array(shape, code, content, dtype_state=(3, "<", None, None, None, -1, -1, 0)):
    """A pickled array, with whatever it says of itself."""
    kind = _thing("numpy.dtype", _argument((code, 0, 1)), _argument(dtype_state))
    state = b"(K\x01" + _argument(shape) + kind + b"\x89" + content + b"t"
    return _thing(ARRAY, EMPTY, state)


def pickles():
    """Pickles that ask for nothing foreign, and would do harm all the same."""
    raw = b"U\x08AAAAAAAA"
    laughs = b"(lp0\n0" + b"".join(
        b"(g%d\ng%d\nlp%d\n0" % (i, i, i + 1) for i in range(60)
    ) + b"g60\n"  # fmt: skip
    tuples = b")q\x00" + b"".join(
        b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)
    )
    named = "pandas.core.frame.DataFrame"
    yield from {
        "objects without their flag": array(
            (1,), "O8", raw, (3, "|", None, None, None, -1, -1, 0)
        ),
        "pointers in fields": array(
            (1,), "V8", raw, (3, "|", None, ("a",), {"a": (1, 0)}, 8, 1, 0)
        ),
        "a dtype of another size": array((4,), "f8", raw, (3, "<", None, None, None, 800, 1, 0)),
        "a dtype of odd state": array((1,), "f8", raw, (3, {}, [], (), 5, "a", 2**40, -1)),
        "more than is there": array((10**9,), "f8", raw),
        "less than is there": array((), "u1", raw),
        "negative shape": array((-5, -5), "f8", raw),
        "shape too large for a number": array((2**62, 2**62), "f8", raw),
        "no bytes an item": array((10**12,), "S0", b"U\x00"),
        "text": array((2,), "U1", b"U\x08\xff\xff\xff\x7f\xff\xff\xff\x7f"),
        "an array called itself": b"cnumpy\nndarray\n" + _argument(((10**10,), "u1")) + b"R",
        "an array of strides": b"cnumpy\nndarray\n"
        + _argument(((10**9, 10**9), "u1", b"a", 0, (0, 0)))
        + b"R",
        "memo with a far place": b"Nr\xff\xff\xff\x7f",
        "memo with the farthest place": b"Nr\xff\xff\xff\xff",
        "bytes longer than the file": b"\x8e" + struct.pack("<Q", 1 << 40) + b"a",
        "bytearray longer than the file": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"a",
        "text longer than the file": b"\x8d" + struct.pack("<Q", 1 << 63),
        "a negative length": b"T\xff\xff\xff\xff" + b"a" * 9,
        "a frame longer than the file": b"\x80\x04\x95" + b"\xff" * 8,
        "a number of many bytes": b"\x8b\xff\xff\xff\x7f",
        "many lists": b"]" * 3_000_000,
        "deep lists": b"]" * 100_000 + b"a" * 99_999,
        "deep tuples": b")" + b"\x85" * 300_000,
        "lists of lists twice": laughs,
        "tuples of tuples twice": tuples,
        "a key that takes forever": b"}" + tuples + b"K\x01s",
        "a set that takes forever": b"\x8f(" + tuples + b"\x90",
        "a list in itself": b"]q\x00h\x00a",
        "pairs of such lists": b"(" + (b"(" + laughs + laughs + b"t") * 3 + b"t",
        "our own class changed": b"c"
        + b"\n".join(map(str.encode, named.rsplit(".", 1)))
        + b"\nN}X\x0c\x00\x00\x00__setstate__Ns\x86b",
        "encoded by a program": _thing("_codecs.encode", _argument(("a" * 9, "rot13"))),
        "encoded by an object": _thing("_codecs.encode", _argument(("a", ["latin1"]))),
        "a persistent thing": b"Pos.system\n",
        "another persistent thing": b"X\x02\x00\x00\x00osQ",
        "an extension": b"\x82\x01",
        "nothing": b"",
        "an empty stack": b"0",
        "a mark alone": b"(",
        "no mark": b"t",
        "a buffer from elsewhere": b"\x97",
        "a name of two lines": b"cos\nsys tem\n)R",
        "a name without end": b"cnumpy",
        "a name in other letters": b"\x8c\x05nump\xff\x8c\x01x\x93",
        "a protocol to come": b"\x80\xff]",
        "no pickle": b"\x00" * 100,
    }.items()


def frames():
    """Pickled frames that would do harm."""

    def frame(labels, values, places=b"c__builtin__\nslice\nK\x00K\x01N\x87R"):
        block = b"}(U\x06values" + values + b"U\x08mgr_locs" + places + b"u"
        axis = _thing("pandas.core.indexes.base._new_Index",
                      b"cpandas.core.indexes.base\nIndex\n" + labels + b"\x86")  # fmt: skip
        newer = b"}(U\x040.14}(U\x04axes" + b"(" + axis + b"lU\x06blocks(" + block + b"luu"
        newer = newer.replace(b"U\x040.14", b"U\x060.14.1", 1)
        manager = _thing("pandas.core.internals.BlockManager", b")", b"(NNN" + newer + b"t")
        return _thing("pandas.core.frame.DataFrame", b")", b"}U\x05_data" + manager + b"s")

    numbers = array((1, 1), "f8", b"U\x08AAAAAAAA")
    one = b"}U\x04data" + array((1,), "O8", b"(U\x01al") + b"s"

    def counted(start, stop, step):
        return _argument({"start": start, "stop": stop, "step": step})

    yield from {
        "a frame of one value": frame(one, numbers),
        "columns without end": frame(counted(0, 10**12, 1), numbers),
        "columns that are no numbers": frame(counted("a", 1, 1), numbers),
        "steps of nothing": frame(counted(0, 1, 0), numbers),
        "no labels": frame(b"}", numbers),
        "values of one place for all": frame(
            counted(0, 10**6, 1), numbers,
            b"c__builtin__\nslice\nNNN\x87R"),
        "places that are a list": frame(one, numbers, b"]"),
        "places far away": frame(one, numbers, array((1,), "i8", b"U\x08" + b"\x7f" * 8)),
        "values of no length": frame(one, array((0, 10**12), "f8", b"U\x00")),
        "values that are no array": frame(one, b"]"),
        "values of one line": frame(one, array((1,), "f8", b"U\x08AAAAAAAA")),
    }.items()  # fmt: skip
