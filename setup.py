"""What pyproject.toml cannot say: the C++ kernel, which is left out where no compiler is."""

import platform
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("nordiq_watch/network/kernel")

kernel = Extension(
    "nordiq_watch.network._native",
    sources=[str(FOLDER / "native.cpp")],
    depends=[str(path) for path in sorted([*FOLDER.glob("*.h"), *FOLDER.glob("*.inc")])],
    language="c++",
    extra_compile_args=["-O3", "-std=c++17", "-fno-math-errno", "-pthread"],
    extra_link_args=["-pthread"],
    optional=True,  # then forecasts are computed by torch, and the log says so
)

setup(ext_modules=[kernel] if platform.system() == "Linux" else [])
