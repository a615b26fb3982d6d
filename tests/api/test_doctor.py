"""The doctor's findings: versions against the declared bounds, devices, folders, data sets."""

import dataclasses
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from erde_nas.api import doctor
from erde_nas.api.doctor import Check, diagnose, render
from erde_nas.data.kind import official
from erde_nas.device.machine import describe_machine


@pytest.fixture
def machine():
    return describe_machine()


@pytest.fixture
def dependencies(monkeypatch):
    """The findings for a declaration and for what is installed."""

    def of(declared: list[str], installed: dict[str, str]) -> list[Check]:
        def found(name: str) -> str:
            if name not in installed:
                raise PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(doctor, "requires", lambda package: declared)
        monkeypatch.setattr(doctor, "version", found)
        return list(doctor._dependencies())

    return of


def test_a_whole_diagnosis_covers_every_part(tmp_path, monkeypatch):
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path))
    checks = {check.name: check for check in diagnose()}
    assert checks["python"].detail.startswith(sys.version.split()[0])
    assert {"torch devices", "onnxruntime providers", "nni tuners", "cache folder", "cores", "data sets"} <= set(checks)
    assert all(check.advice for check in checks.values() if check.status != "ok")


def test_versions_are_compared_with_the_declared_bounds(dependencies):
    declared = ["torch>=2.6", "nni>=3.0", "optuna>=4.0", "pytest>=8.2 ; extra == 'dev'"]
    assert dependencies(declared, {"torch": "2.13.0+cpu", "nni": "2.10"}) == [
        Check("nni", "warning", "2.10, tested with >=3.0", "pip install 'nni>=3.0'"),
        Check("optuna", "missing", "not installed", "pip install 'optuna>=4.0'"),
        Check("torch", "ok", "2.13.0+cpu"),
    ]


def test_the_gpu_build_of_onnxruntime_counts(dependencies):
    assert dependencies(["onnxruntime>=1.20"], {"onnxruntime-gpu": "1.21"}) == [Check("onnxruntime-gpu", "ok", "1.21")]


def test_a_source_tree_says_that_it_is_not_installed(monkeypatch):
    def absent(package: str) -> list[str]:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "requires", absent)
    (check,) = doctor._dependencies()
    assert (check.name, check.status) == ("erde-nas", "warning")


def test_what_is_installed_here_satisfies_the_declaration():
    text = (Path(doctor.__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    block = text.split("\ndependencies = [", 1)[1].split("]", 1)[0]
    declared = [line.strip(' ",') for line in block.splitlines() if line.strip()]
    assert "torch>=2.6" in declared
    for text in declared:
        check = doctor._dependency(doctor.Requirement(text))
        assert (check.status, check.detail) == ("ok", version(check.name))


def test_the_gpu_advice_names_the_package(machine):
    gpu = dataclasses.replace(machine, accelerators=("NVIDIA H200",), providers=("CPUExecutionProvider",))
    check = doctor._onnxruntime(gpu)
    assert check.status == "warning"
    assert "onnxruntime-gpu" in check.advice
    assert doctor._onnxruntime(dataclasses.replace(machine, providers=())).status == "missing"


def test_a_torch_that_cannot_use_the_gpu_is_told(machine, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "cannot use NVIDIA H200" in doctor._torch(dataclasses.replace(machine, accelerators=("NVIDIA H200",))).detail
    assert doctor._torch(dataclasses.replace(machine, accelerators=())).status == "ok"


def test_broken_torch_and_tuners_are_findings(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor._torch(machine).status == "missing"
    monkeypatch.setitem(sys.modules, "erde_nas.searching.searchers.nni_tpe", None)
    check = doctor._nni()
    assert check.status == "missing"
    assert "ImportError" in check.detail or "ModuleNotFoundError" in check.detail


def test_the_tuners_that_nni_brings_work_here(capsys):
    check = doctor._nni()
    assert (check.status, check.detail) == ("ok", "nni-tpe, nni-evolution, nni-gridsearch")
    assert capsys.readouterr().out == ""


def test_a_cache_that_cannot_be_written_and_a_full_disk(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("ERDE_NAS_CACHE", str(blocked / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(2**30, 2**29, 2**29))
    checks = list(doctor._disk())
    assert [check.status for check in checks] == ["warning"] * 3
    assert "ERDE_NAS_CACHE" in checks[0].advice
    assert checks[1].detail == "0.5 GiB free"


def test_one_core_is_a_warning(machine):
    assert doctor._cores(dataclasses.replace(machine, usable_cores=1)).status == "warning"
    assert doctor._cores(dataclasses.replace(machine, usable_cores=2)).status == "ok"


def test_data_sets_are_found_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ERDE_NAS_CACHE", str(tmp_path))
    source = official()["cifar100"]
    folder = tmp_path / source.folders[0]
    folder.mkdir()
    for name in source.needs:
        (folder / name).touch()
    check = doctor._datasets()
    assert f"cifar100 ({folder})" in check.detail
    assert "cifar100" not in check.advice
    assert "svhn" in check.advice
    assert "digits" in check.detail


def test_the_table_counts_what_needs_attention():
    text = render([Check("a", "ok", "1.0"), Check("b", "missing", "not installed", "pip install b")])
    assert text.splitlines()[-1] == "2 checks: 1 missing, 0 warnings"
    assert "pip install b" in text


def test_importing_the_doctor_imports_no_torch():
    code = "import sys, erde_nas.api.doctor; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
