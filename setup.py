"""What pyproject.toml cannot say: the C++ kernel, which is left out where no compiler is."""

import platform

from setuptools import Extension, setup

kernel = Extension(
    "nordiq_watch.network._native",
    sources=["nordiq_watch/network/native.cpp"],
    language="c++",
    extra_compile_args=["-O3", "-std=c++17", "-fno-math-errno", "-pthread"],
    extra_link_args=["-pthread"],
    optional=True,  # then forecasts are computed by torch, and the log says so
)

setup(ext_modules=[kernel] if platform.system() == "Linux" else [])
