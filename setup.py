"""What pyproject.toml cannot say: the C++ extensions, which are left out where no compiler is."""

import platform
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("nordiq_watch/network/kernel")

kernel = Extension(
    "nordiq_watch.network._native",
    sources=[str(FOLDER / name) for name in ("native.cpp", "terms/terms.cpp", "training/training.cpp")],
    depends=[str(path) for path in sorted([*FOLDER.rglob("*.h"), *FOLDER.rglob("*.inc")])],
    language="c++",
    extra_compile_args=["-O3", "-std=c++17", "-fno-math-errno", "-pthread"],
    extra_link_args=["-pthread"],
    optional=True,  # then forecasts are computed by torch, and the log says so
)

writer = Extension(
    "nordiq_watch.json_rows._native",
    sources=["nordiq_watch/json_rows/rows.cpp"],
    language="c++",
    extra_compile_args=["-O3", "-std=c++17", "-fno-math-errno"],
    optional=True,  # then answers are written by orjson
)

SCANNER = Path("nordiq_watch/ingest/kernel")

scanner = Extension(
    "nordiq_watch.ingest._native",
    sources=[str(SCANNER / "scan.cpp")],
    depends=[str(path) for path in sorted(SCANNER.glob("*.h"))],
    language="c++",
    extra_compile_args=["-O3", "-std=c++17"],
    optional=True,  # then feeds are read by msgspec, and the log says so
)

setup(ext_modules=[kernel, writer, scanner] if platform.system() == "Linux" else [])
