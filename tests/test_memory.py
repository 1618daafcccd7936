"""What does not fit in memory is a MemoryError with sizes, in processes with little of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from command import call

ROOM = """
import resource, sys
import numpy as np
import backprop_svc as bp
# Public names are imported when they are first asked for, which takes memory, too.
for name in bp.__all__:
    getattr(bp, name)
bp.train(bp.Network(2, 2, 1), np.ones((4, 6)), np.ones((4, 2)), np.ones(4), threads=2)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
def room(mebibytes):
    resource.setrlimit(resource.RLIMIT_AS, (used + (mebibytes << 20),) * 2)
guide = bp.Network(1, 1, 1)
"""
"""``room(n)`` leaves n MiB to a process that has what it needs otherwise."""

CALLS = {
    "predict, results": "room(300); bp.predict(guide, np.ones((8, 2)), np.ones(8 << 20))",
    "predict, copies": "x = np.ones(20 << 20); room(100); bp.predict(guide, [1, 1], x)",
    "predict, weights": "w = np.ones((9 << 20, 2)); room(100); bp.predict(guide, w, 1)",
    "predict, columns": (
        "x = np.ones((20 << 20, 2))[:, :1]; room(100); bp.predict(guide, [1, 1], x)"
    ),
    "gradients": "x = np.ones(20 << 20); room(200); bp.gradients(guide, [1, 1], x, x)",
    "gradients, runs": "w = np.ones((9 << 20, 2)); room(200); bp.gradients(guide, w, 1, 1)",
    "train, rows": "x = np.ones(20 << 20); room(200); bp.train(guide, [1, 1], x, x, epochs=1)",
    "train, more rows": (
        "x = np.ones(20 << 20); room(400); bp.train(guide, [1, 1], x, x, epochs=1)"
    ),
    "train, mini-batches": (
        "x = np.ones(20 << 20); room(600)\n"
        "bp.train(guide, [[1, 1]] * 2, x, x, epochs=1, batch_size=9, threads=2, record=())"
    ),
    "train, runs": "w = np.ones((9 << 20, 2)); room(200); bp.train(guide, w, 1, 1, record=())",
    "train, more runs": (
        "w = np.ones((9 << 20, 2)); room(450); bp.train(guide, w, 1, 1, record=())"
    ),
    "train, histories": "room(300); bp.train(guide, np.ones((1 << 16, 2)), 1, 1, epochs=999)",
    "train, large network": (
        "n = bp.Network(3000, 3000); w = np.zeros((1, 3000**2)); room(600)\n"
        "bp.train(n, w, np.ones((1, 3000)), np.ones((1, 3000)), epochs=1, record=())"
    ),
    "train, Adam": (
        "n = bp.Network(1000, 1000); w = np.zeros((1, 1000**2)); room(300)\n"
        "bp.train(n, w, np.ones((1, 1000)), np.ones((1, 1000)), optimizer='adam', record=())"
    ),
    "train, wide network": (
        "n = bp.Network(1, 1 << 20, 1); w = np.zeros((1, 2 << 20)); room(500)\n"
        "bp.train(n, w, 1, 1, epochs=1, record=())"
    ),
    "evaluate": "x = np.ones(20 << 20); room(250); bp.evaluate(guide, [1, 1], x, x)",
    "initial weights": "room(300); bp.initial_weights(bp.Network(2000, 3000), np.arange(9))",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return call(Path.cwd(), ROOM + textwrap.dedent(code), module="-c")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
@pytest.mark.parametrize("what", CALLS)
def test_what_does_not_fit_is_a_memory_error(what: str) -> None:
    done = run(f"""
try:
    exec({CALLS[what]!r})
except MemoryError as error:
    print(error)
""")
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert "GiB" in done.stdout or "MiB" in done.stdout, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_wrong_shapes_are_found_before_anything_is_allocated() -> None:
    done = run("""
import time
large, x = bp.Network(3000, 3000), np.ones((20 << 20, 1))
wide = np.broadcast_to(np.int8(1), (10**9, 3))
room(60)
begin = time.process_time()
for call in (
    lambda: bp.train(large, np.ones(5), np.ones((1, 3000)), np.ones((1, 3000))),
    lambda: bp.predict(large, np.ones((2, 3)), np.ones((1, 3000))),
    lambda: bp.gradients(guide, [1, 1], x, x[1:]),
    lambda: bp.train(guide, [1, 1], x, x[1:]),
    lambda: bp.train(guide, wide, 1, 1),
    lambda: bp.predict(guide, [1, 1], wide),
):
    try:
        call()
    except bp.SettingError as error:
        assert len(str(error)) < 300
    else:
        raise AssertionError
assert time.process_time() - begin < 1
""")
    assert done.returncode == 0, done.stderr[-2000:]


def test_thousands_of_threads_are_those_that_help() -> None:
    done = run("""
import time
begin = time.process_time()
weights = np.ones((1 << 17, 2))
many = bp.train(guide, weights, 1, 1, threads=32000, record=())
assert time.process_time() - begin < 5
assert many == bp.train(guide, weights, 1, 1, threads=1, record=())
""")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_process_forked_in_a_callback_ends_and_its_parent_goes_on() -> None:
    done = run("""
import os
children = []
def progress(done, total):
    if not children:
        child = os.fork()
        if child:
            children.append(child)
# Epochs of a larger network are never left out.
network = bp.Network(1, 8, 1)
result = bp.train(network, np.ones((1 << 12, 16)), np.ones(64), np.ones(64), epochs=20_000,
                  time_limit=1.0, record=(), progress=progress)
assert children
assert len(result) == 1 << 12
assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1
""")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "os._exit" in done.stderr


def test_evaluate_has_arrays_of_its_own() -> None:
    done = run("""
import threading
module = sys.modules["backprop_svc.evaluate"]
module.MOST_VALUES = 64
weights, x, y = np.ones((4096, 2)), np.ones(64), np.ones(64)
usual, seen = module.gradients, []
def changing(network, w, rows, targets):
    # As another thread would between two pieces.
    weights[:], x[:], y[:] = 5, 5, 5
    return usual(network, w, rows, targets)
module.gradients = changing
assert (bp.evaluate(guide, weights, x, y).loss == 0).all()
assert weights[0, 0] == 5
""")
    assert done.returncode == 0, done.stderr[-2000:]
