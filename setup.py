"""Compile the Cython kernels; every other setting is in pyproject.toml."""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}

# Portable on purpose: no -march=native and no -ffast-math, wheels run on any machine and NaN stays NaN.
FLAGS = {"msvc": ["/O2"]}
UNIX_FLAGS = ["-O3", "-g0"]


class BuildKernels(build_ext):
    """Translate and compile on demand, in parallel, with everything generated below build/."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        if self.editable_mode:
            # A fixed place instead of a temporary one, so that only kernels that changed are compiled again.
            self.build_lib = self.build_temp = os.path.join("build", "editable")

    def build_extensions(self):
        from Cython.Build import cythonize

        translated = cythonize(self.extensions, build_dir=os.path.join("build", "c"), compiler_directives=DIRECTIVES)
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
            extension.extra_compile_args = FLAGS.get(self.compiler.compiler_type, UNIX_FLAGS)
        super().build_extensions()


def kernels():
    """One extension for every .pyx file of the package."""
    paths = sorted(Path("skspar").rglob("*.pyx"))
    return [
        Extension(
            ".".join(path.with_suffix("").parts),
            [path.as_posix()],
            include_dirs=[path.parent.as_posix()],
            depends=[header.as_posix() for header in path.parent.glob("*.h")],
        )
        for path in paths
    ]


if __name__ == "__main__":
    setup(ext_modules=kernels(), cmdclass={"build_ext": BuildKernels})
