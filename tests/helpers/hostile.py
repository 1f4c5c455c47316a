"""Files made to do harm, and a process to read them in that may come to harm."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import pickle
import resource
import select
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import h5py
import numpy as np

MEMORY = 1 << 30  # bytes a case may take beside what the process has
SECONDS = 10  # of work a case may take
PATIENCE = 120  # seconds until nobody waits for it any more, however busy the machine is
MARKER = "executed"
# What no file may make us do. Files are written under the folder of the tests alone.
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn"),
    *("ctypes.dlopen", "socket.connect", "webbrowser.open"),
)
# How many paths there are to what changes a folder.
PATHS = {"os.rename": 2, "os.link": 2, "os.symlink": 2}
PATHS |= dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"), 1)
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
                answer = _line(answers) if select.select([answers], [], [], PATIENCE)[0] else None
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
            wrong[cases[done][0]] = (
                f"no answer in {PATIENCE} s" if code == -9 else f"died ({code})"
            )
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
        started = time.process_time()
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
        if time.process_time() - started > SECONDS:
            answer = f"took {time.process_time() - started:.0f} s"
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
        elif event in PATHS and (event == "shutil.rmtree" or arguments[-1] == -1):
            for path in arguments[: PATHS[event]]:
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
    ("maf_runner.system.atomic", "write"): (MARKER, "x"),
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
        "many lists": b"]" * 1_100_000,
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


def npy(shape, dtype="'<f8'", content=b"", version=1):
    """An npy file whose header says what it likes."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


def written(write):
    """What ``write`` writes to a file."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def stored(fill):
    """An HDF5 file."""

    def write(file):
        with h5py.File(file, "w") as store:
            fill(store)

    return written(write)


def npys():
    """Files of arrays that are none."""
    yield from {
        "longer than the file": npy("(1000000000000, 2)"),
        "wide and empty": npy("(0, 1000000000)"),
        "tall and empty": npy("(1000000000, 0)"),
        "a shape without end": npy("(" * 5000),
        "a shape of signs": npy("-" * 8000 + "1"),
        "a negative shape": npy("(-1, -1)"),
        "a shape of words": npy("('a',)"),
        "a header cut": npy("(2, 2)")[:40],
        "a header without end": npy("'''"),
        "a header of gigabytes": b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{",
        "a program": npy(f"__import__('os').system('touch {MARKER}')"),
        "objects": npy("(1, 1)", "'|O'", pickle.dumps(print)),
        "objects in fields": npy("(1,)", "[('a', '|O')]", pickle.dumps(print)),
        "times": npy("(9, 9)", "'<M8[ns]'", b"A" * 648),
        "nothing, many times": npy("(50, 50)", "'|V0'"),
        "fields": npy("(2, 2)", "[('a', '<f8')]", b"A" * 32),
        "arrays in arrays": npy("(2,)", "('<f8', (1048576, 1048576))", b"A" * 64),
        "long words": npy("(2, 2)", "'|S1000000'", b"A" * 64),
        "letters that are none": npy("(2, 2)", "'<U2'", b"\xff" * 32),
        "complex numbers": npy("(20, 2)", "'<c16'", b"A" * 640),
        "half numbers": npy("(20, 2)", "'<f2'", b"\xff" * 80),
        "a version to come": npy("(2, 2)", version=9),
    }.items()


def stores():
    """HDF5 files that reach out, or claim what they do not hold."""
    outside = h5py.VirtualLayout((8, 2), "f8")
    outside[:] = h5py.VirtualSource("/etc/passwd", "x", (8, 2))
    raw = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]

    def link(to):
        return lambda store: store.update({"data": to})

    def array(*arguments, **named):
        return lambda store: store.create_dataset("data", *arguments, **named)

    def references(store):
        group = store.create_group("group")
        store["data"] = np.array([[group.ref] * 2] * 9, dtype=h5py.ref_dtype)

    yield from {
        "a link outside": link(h5py.ExternalLink("/etc/passwd", "x")),
        "a link to a pipe": link(h5py.ExternalLink("/dev/stdin", "x")),
        "a link to nowhere": link(h5py.SoftLink("/nothing")),
        "a link to itself": link(h5py.SoftLink("/data")),
        "values outside": array((8, 2), "f8", external=raw),
        "a view outside": lambda store: store.create_virtual_dataset("data", outside),
        "references": references,
        "a group in itself": lambda store: store.update({"data": store["/"]}),
        "claims": array((10**10, 2), "f8"),
        "claims in pieces": array((10**9, 2), "f8", chunks=(1000, 2), compression="gzip"),
        "claims of words": array((10**9, 2), h5py.string_dtype()),
        "wide and empty": array((0, 10**9), "f8"),
        "long words": array((4, 10**6), "S1000"),
        "no space": array(data=h5py.Empty("f8")),
        "one number": array(data=1.0),
        "times": array((20, 2), h5py.opaque_dtype(np.dtype("<M8[s]"))),
        "choices": array((20, 2), h5py.enum_dtype({"A": 1})),
        "many of length one": array((20, 2), h5py.vlen_dtype("f8")),
        "64 dimensions": array((1,) * 32, "f8"),
        "large half numbers": array(data=np.full((20, 2), 6e4, "f2")),
    }.items()


def texts():
    """CSV files that are none, or too much."""
    rows = b"1,2\n" * 20
    wide = ",".join(f"c{i}" for i in range(3000))
    yield from {
        "many columns": "\n".join([wide, *[",".join(["1.5"] * 3000)] * 12]).encode(),
        "many columns of words": "\n".join([wide, *[",".join(["a"] * 3000)] * 12]).encode(),
        "a long field": b"a,b\n1," + b"9" * 5_000_000 + b"\n" + rows,
        "a long word": b"a,b\n1," + b"x" * 5_000_000 + b"\n" + rows,
        "a long header": b"a" * 5_000_000 + b",b\n" + rows,
        "an open quote": b'a,b\n1,"' + b"9" * 500_000 + b"\n" + rows,
        "a quote": b'"',
        "zeros": bytes(1_000_000),
        "zeros among fields": b"a,b\n" + b"\0,\0\n" * 30,
        "a zero in a name": b"a\0c,b\n" + rows,
        "UTF-16": "a,b\n1,2\n".encode("utf-16") * 20,
        "UTF-32": ("a,b\n" + "1,2\n" * 20).encode("utf-32"),
        "Latin-1": b"\xe4,b\n" + rows,
        "a mark in front": b"\xef\xbb\xbfa,b\n" + rows,
        "returns alone": b"a,b\r" + b"1,2\r" * 20,
        "large numbers": b"a,b\n" + (b"1" * 400 + b",2\n") * 20,
        "larger numbers": b"a,b\n" + (b"1" * 5000 + b",2\n") * 20,
        "numbers out of range": b"a,b\n" + b"1e309,2e-400\n" * 20,
        "a long row": b"a,b\n1,2," + b"," * 100_000 + b"\n",
        "a long row and field": b"a,b\n1,2," + b"x" * 200_000 + b"\n",
        "a row too long at the end": b"a,b\n" + rows + b"1,2,3\n",
        "names that meet": b"a,a,a.1\n" + b"1,2,3\n" * 20,
        "names of numbers": b'"0","1"\n' + rows,
        "no names": b",\n" + rows,
        "only names": b"a,b\n",
        "blanks": b" \n" * 1000,
        "formulas": b"=cmd|'/c calc'!A0,b\n" + rows,
        "control signs": b"\x1b[2J,b\n" + rows,
        "packed": b"\x1f\x8b\x08\x00" + bytes(100),
        "deep brackets": b"a\n" + b"[" * 100_000 + b"\n",
    }.items()


def packed(files, ending):
    """An archive of files by name: bytes, or a TarInfo of something else."""

    def write(target):
        if ending == "zip":
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as pack:
                for name, content in files:
                    pack.writestr(name, content)
            return
        mode = {"tar": "w"}.get(ending, f"w:{ending.split('.')[-1]}")
        with tarfile.open(fileobj=target, mode=mode) as pack:
            for name, content in files:
                info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
                if content is not info:
                    info.size = len(content)
                pack.addfile(info, None if content is info else io.BytesIO(content))

    return written(write)


def member(name, kind, target="", **headers):
    """A member of a tar archive that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, target, headers
    return name, info


def archives():
    """Archives, by their ending and what is wrong with them."""
    names = ("/tmp/a", "../../../../tmp/a", "..\\..\\a", "C:\\a", "a/../../a", "~/a", "x/./a",
             "\x1b[2J/a", "a\n", "nul/a", "é" * 200 + "/a")  # fmt: skip
    for name in names:
        for ending in ("tar.gz", "zip"):
            yield f"{ending}: {name!r:.20}", (f"x.{ending}", packed([(name, b"1")], ending))
    kinds = {
        "a link": member("a", tarfile.SYMTYPE, "/etc/passwd"),
        "a link up": member("a", tarfile.SYMTYPE, "../../../../../etc/passwd"),
        "a hard link": member("a", tarfile.LNKTYPE, "/etc/passwd"),
        "a device": member("a", tarfile.CHRTYPE),
        "a disk": member("a", tarfile.BLKTYPE),
        "a pipe": member("a", tarfile.FIFOTYPE),
        "a folder": member("a", tarfile.DIRTYPE),
        "an unknown thing": member("a", b"Z"),
        "a long header": member("a", tarfile.REGTYPE, comment="x" * (3 << 20)),
        "a size in a header": member("a", tarfile.REGTYPE, size=str(10**15)),
        "a negative size": member("a", tarfile.REGTYPE, size="-512"),
        "a size that is none": member("a", tarfile.REGTYPE, size="x"),
        "a hole": member("a", tarfile.REGTYPE, **{
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a",
            "GNU.sparse.realsize": str(10**15)}),
        "holes": member("a", tarfile.REGTYPE, **{
            "GNU.sparse.map": ",".join(["0,1"] * 50_000), "GNU.sparse.size": "9"}),
        "a wrong encoding": member("a", tarfile.REGTYPE, hdrcharset="BINARY", path="\udcff/a"),
    }  # fmt: skip
    for kind, entry in kinds.items():
        for ending in ("tar", "tar.gz"):
            yield f"{ending}: {kind}", (f"x.{ending}", packed([entry], ending))
        yield (
            f"tar: {kind}, then a link through it",
            ("x.tar", packed([entry, ("a/a", b"1")], "tar")),
        )
    first = tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT)
    more = tarfile.TarInfo("b").tobuf(tarfile.USTAR_FORMAT)
    sparse = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    sparse[156:157], sparse[482:483] = b"S", b"\x01"
    sparse[148:156] = b"        "
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    for ending, pack in (
        ("tar.gz", gzip.compress),
        ("tar.xz", lzma.compress),
        ("tar.bz2", bz2.compress),
    ):
        holes = bytes(sparse) + (bytes(504) + b"\x01" + bytes(7)) * 40_000
        for kind, content in {  # made when their turn comes
            "zeros": lambda pack=pack: pack(bytes(300 << 20)),
            "a large member": lambda pack=pack: pack(packed([("b", bytes(300 << 20))], "tar")),
            "holes without end": lambda pack=pack, holes=holes: pack(holes),
            "many members": lambda pack=pack: pack(more * 30_000 + first),
            "not packed": first,
            "packed twice": pack(pack(first)),
            "rubbish after it": pack(first) + b"rubbish",
        }.items():
            yield f"{ending}: {kind}", (f"x.{ending}", content)
        yield f"{ending}: alone", (f"a.{ending[4:]}", lambda pack=pack: pack(bytes(1 << 28)))
    yield "headers of headers", ("x.tar", tarfile.TarInfo("a").create_pax_global_header(
        {"comment": "x" * 400}) * 3000)  # fmt: skip
    yield "zip: zeros", ("x.zip", lambda: packed([("a", bytes(1 << 28))], "zip"))
    yield "zip: many", ("x.zip", lambda: packed([(f"{i}/b", b"") for i in range(20_000)], "zip"))
    lies = bytearray(packed([("a", bytes(1 << 20))], "zip"))
    place = lies.index(b"PK\x01\x02")
    lies[place + 24 : place + 28] = struct.pack("<I", 5)
    yield "zip: another size", ("x.zip", bytes(lies))
    lies[place + 42 : place + 46] = struct.pack("<I", 1 << 30)
    yield "zip: elsewhere", ("x.zip", bytes(lies))
    locked = bytearray(packed([("a", b"1")], "zip"))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    yield "zip: encrypted", ("x.zip", bytes(locked))
    odd = bytearray(packed([("a", b"1")], "zip"))
    odd[odd.index(b"PK\x01\x02") + 10] = 99
    yield "zip: packed in an unknown way", ("x.zip", bytes(odd))
    twice = packed([("a", b"1"), ("b", b"2")], "zip")
    second = twice.index(b"PK\x01\x02", twice.index(b"PK\x01\x02") + 1)
    overlap = bytearray(twice)
    overlap[second + 42 : second + 46] = struct.pack("<I", 0)
    yield "zip: one over the other", ("x.zip", bytes(overlap))
