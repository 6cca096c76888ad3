"""Streams, memory, events and captures of the real cuda-core, under the pretended driver."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tacoglow.runtime.backends.cuda import nvrtc
from tacoglow.runtime.backends.cuda.device import device_memory, find_gpu, gpu_unavailable_reason
from tacoglow.runtime.backends.cuda.driver import Driver, find_driver
from tacoglow.runtime.backends.cuda.noise import NoiseKernels
from tacoglow.runtime.backends.cuda.slots import Block
from tacoglow.runtime.backends.cuda.stream import CaptureError, CudaStream, DeviceArray
from tacoglow.runtime.errors import BackendError
from tacoglow.tests.pretend_driver.driver import OUT_OF_MEMORY, PretendDriver, folder, install

HERE = Path(__file__).parent
SIZE = 1000


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> PretendDriver:
    return install(monkeypatch)


def numbers() -> np.ndarray:
    return np.arange(SIZE, dtype=np.float32)


def test_finds_the_gpu_and_its_memory(cuda: PretendDriver) -> None:
    assert find_driver() == Driver(13000, 1)
    assert gpu_unavailable_reason() is None
    assert find_gpu(0).compute_capability == (9, 0)
    assert device_memory(0).total == 4 << 30
    with pytest.raises(BackendError, match="GPU 1 cannot be used"):
        find_gpu(1)


def test_without_a_gpu_says_so(cuda: PretendDriver) -> None:
    cuda.installed = False
    assert find_driver() is None
    assert "CUDA_ERROR_NO_DEVICE" in (gpu_unavailable_reason() or "")


def test_copies_are_done_when_they_are_waited_for(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    array, host = stream.empty((SIZE,), np.float32), stream.pinned((SIZE,), np.float32)
    stream.upload(array, numbers())
    stream.download(host, array)
    done = stream.record()
    assert np.isnan(host).all()
    done.wait()
    np.testing.assert_array_equal(host, numbers())
    stream.zero(array)
    stream.download(host, array)
    stream.record().wait()
    assert not host.any()


def test_seconds_between_two_events(cuda: PretendDriver) -> None:
    """A millisecond for each piece of work, in the driver's time."""
    stream = CudaStream(0)
    array = stream.empty((SIZE,), np.float32)
    begin = stream.record_time()
    for _ in range(5):
        stream.zero(array)
    assert stream.record_time().seconds_since(begin) == pytest.approx(5e-3)


def test_a_copy_beyond_the_end_is_an_error(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    array = stream.empty((SIZE,), np.float32)
    longer = DeviceArray(array.address, (SIZE + 1,), array.dtype, array.owner)
    with pytest.raises(BackendError, match="CUDA_ERROR_INVALID_VALUE"):
        stream.upload(longer, np.zeros(SIZE + 1, np.float32))


def test_memory_that_is_freed_cannot_be_used(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    array = stream.empty((SIZE,), np.float32)
    gone = DeviceArray(array.address, array.shape, array.dtype, None)
    del array
    stream.zero(gone)
    with pytest.raises(Exception, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        stream.record().wait()


def test_pinned_memory_is_freed_after_the_copies_to_it(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    array, host = stream.empty((SIZE,), np.float32), stream.pinned((SIZE,), np.float32)
    stream.download(host, array)
    del host
    stream.record().wait()


@pytest.mark.parametrize(
    ("memory", "function"), [("GPU memory", "cuMemAllocFromPoolAsync"), ("pinned host memory", "cuMemAllocHost")]
)
def test_out_of_memory_is_one_line_with_a_way_out(cuda: PretendDriver, memory: str, function: str) -> None:
    stream = CudaStream(0)
    cuda.refuse(function, OUT_OF_MEMORY)
    allocate = stream.empty if memory == "GPU memory" else stream.pinned
    with pytest.raises(BackendError, match=f"GPU 0: cannot allocate 4000 bytes of {memory}: .*; stop what else uses"):
        allocate((SIZE,), np.float32)


def test_a_graph_runs_when_it_is_launched(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    source, target = (stream.empty((SIZE,), np.float32) for _ in range(2))
    host = stream.pinned((SIZE,), np.float32)

    def enqueue() -> None:
        stream.copy(target, source)
        stream.download(host, target)

    launch = stream.capture(enqueue)
    stream.upload(source, numbers())
    stream.record().wait()
    assert np.isnan(host).all()
    launch()
    stream.record().wait()
    np.testing.assert_array_equal(host, numbers())


def test_a_graph_keeps_what_it_runs_alive(cuda: PretendDriver) -> None:
    """Memory that only `enqueue` holds, as an execution context does its own."""
    stream = CudaStream(0)
    host = stream.pinned((SIZE,), np.float32)

    def capture_of(array: DeviceArray) -> object:
        return stream.capture(lambda: stream.download(host, array))

    held = stream.empty((SIZE,), np.float32)
    stream.zero(held)
    launch = capture_of(held)
    del held
    gc.collect()
    launch()  # type: ignore[operator]
    stream.record().wait()
    assert not host.any()


def test_an_engine_that_allocates_cannot_be_captured(cuda: PretendDriver) -> None:
    """Its allocation would be missing in the graph, which would run on; and the stream is usable afterwards."""
    stream = CudaStream(0)
    array = stream.empty((SIZE,), np.float32)

    def enqueue() -> None:
        stream.zero(array)
        stream.pinned((1,), np.float32)

    with pytest.raises(CaptureError, match="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        stream.capture(enqueue)
    stream.capture(lambda: stream.zero(array))()
    stream.record().wait()


def test_garbage_that_is_collected_does_not_end_a_capture(cuda: PretendDriver) -> None:
    """A cycle of objects that holds GPU memory, with as much garbage after it as starts a collection."""
    stream = CudaStream(0)
    array = stream.empty((SIZE,), np.float32)
    cycle: list[object] = [stream.empty((SIZE,), np.float32)]
    cycle.append(cycle)
    del cycle

    def enqueue() -> None:
        stream.zero(array)
        for _ in range(3 * gc.get_threshold()[0]):
            garbage: list[object] = []
            garbage.append(garbage)

    stream.capture(enqueue)()
    stream.record().wait()


def test_one_copy_moves_slots_of_several_shapes(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    block = Block(stream, 2, [(3,), (2, 50)], np.float32)
    download, (small, large) = block.pinned()
    for i in range(2):
        stream.upload(block.slots[0][i], np.full(3, i, np.float32))
        stream.upload(block.slots[1][i], np.full((2, 50), 10 + i, np.float32))
    copies = cuda.count("cuMemcpyAsync")
    download()
    assert cuda.count("cuMemcpyAsync") == copies + 1
    stream.record().wait()
    np.testing.assert_array_equal(small, [[0] * 3, [1] * 3])
    np.testing.assert_array_equal(large, np.broadcast_to([[[10]], [[11]]], (2, 2, 50)))


def test_a_kernel_of_an_address_that_is_not_allocated_is_a_fault(cuda: PretendDriver) -> None:
    stream = CudaStream(0)
    kernels = NoiseKernels(0, nvrtc.compile_cubin(nvrtc.kernel_source("noise.cu"), "sm_90"))
    one, four = np.int32(1), np.int32(4)
    kernels.launch("draw_z", stream, (1, 1, 1), 256, np.uint64(0), np.uint64(0), one, one, four, np.float32(1))
    with pytest.raises(Exception, match="CUDA_ERROR_LAUNCH_FAILED"):
        stream.record().wait()


def test_a_name_that_cuda_core_does_not_have_fails(cuda: PretendDriver) -> None:
    from cuda.core import EventOptions

    with pytest.raises(TypeError):
        EventOptions(enable_timing=True)


def test_another_process_finds_the_driver(cuda: PretendDriver) -> None:
    program = "from tacoglow.runtime.backends.cuda.device import find_gpu; print(find_gpu(0).name)"
    paths = f"{folder()}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ | {"LD_LIBRARY_PATH": paths}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("Simulated GPU\n", "")


@pytest.mark.builds
@pytest.mark.parametrize("requirement", ["cuda-core==1.0.0", "cuda-core"], ids=["oldest", "newest"])
def test_oldest_and_newest_cuda_core(requirement: str, tmp_path: Path) -> None:
    """The oldest that pyproject.toml admits, and the newest that there is."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), requirement]
    subprocess.run(pip, check=True)
    paths = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "pytest", "-q", str(HERE / "test_stream.py"), str(HERE / "test_loop.py")]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=True)
