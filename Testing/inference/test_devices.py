"""A device is what a real convolution ran on."""

import pytest
import torch

from dropiris.errors import DeviceError
from dropiris.inference import devices
from dropiris.inference.devices import choose_device, is_out_of_memory, probe


def test_the_processor_always_works_and_says_why():
    device = choose_device("cpu")
    assert device.torch_device == "cpu" and device.dtype in ("float32", "bfloat16")
    assert device.why.startswith("asked for") and device.name.startswith("CPU")
    assert choose_device("cpu") == device  # measured once


def test_auto_takes_what_there_is():
    device = choose_device("auto")
    kinds = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()), ("cpu", True)]
    assert device.torch_device == next(kind for kind, there in kinds if there)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_a_missing_gpu_asked_for_by_name_is_one_sentence():
    with pytest.raises(DeviceError, match=r"cuda cannot be used \(no CUDA GPU that PyTorch can use\)"):
        choose_device("cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="choose auto, cuda, mps or cpu"):
        choose_device("tpu")


def test_a_device_that_cannot_run_a_convolution_is_found_out():
    assert probe("cpu", "float32") == ""
    assert probe("meta", "float32")
    assert probe("cpu", "int8")


def test_a_gpu_that_fails_its_convolution_is_passed_over(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "probe", lambda device, dtype: "driver too old" if device == "cuda" else "")
    devices._accelerator.cache_clear()
    try:
        device = choose_device("auto")
    finally:
        devices._accelerator.cache_clear()
    assert device.torch_device == "cpu" and "driver too old" in device.why


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (MemoryError(), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised_on_every_device(error, expected):
    assert is_out_of_memory(error) is expected
