"""Builds the native engine, a plain shared library, if there is a C++ compiler."""

import os
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SOURCES = Path("maf_runner", "engine", "native", "src")
# No -ffast-math: overflow, inf and NaN must come out as they are.
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden",
         "-g0"]  # fmt: skip
MORE = os.environ.get("MAF_RUNNER_NATIVE_FLAGS", "").split()  # for checks, to compile and link
X86 = platform.machine().lower() in ("x86_64", "amd64")
OWN = {  # of the instruction sets among which the library chooses when it is loaded
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
    "avx2": ["-mavx2", "-mfma"],
}
NAMES = [*(OWN if X86 else ()), "portable", "pool", "interface"]


class Build(build_ext):
    """Compiles each file with its own flags."""

    def build_extension(self, ext: Extension) -> None:
        """Compile and link; a failure costs a warning, since the extension is optional.

        A compiler that does not know an instruction set costs that set alone.
        """
        objects: list[str] = []
        compiled = []  # instruction sets, for the interface, which comes last
        for source in ext.sources:
            name = Path(source).stem
            try:
                objects += self.compiler.compile(
                    [source],
                    output_dir=self.build_temp,
                    macros=[(f"MAF_{name.upper()}", None) for name in compiled],
                    extra_postargs=[*FLAGS, *OWN.get(name, []), *MORE],
                    depends=ext.depends,
                )
            except CompileError as error:
                if name not in OWN:
                    raise
                self.warn(f"the native engine is built without {name}: {error}")
            else:
                if name in OWN:
                    compiled.append(name)
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(ext.name),
            extra_postargs=["-pthread", *MORE],
            build_temp=self.build_temp,
            target_lang="c++",
        )


extension = Extension(
    "maf_runner.engine.native._library",
    sources=[str(SOURCES / f"{name}.cpp") for name in NAMES],
    depends=[str(file) for file in sorted(SOURCES.glob("*.h"))],
    language="c++",
    optional=True,
)
setup(
    ext_modules=[] if sys.platform == "win32" else [extension],
    cmdclass={"build_ext": Build},
)
