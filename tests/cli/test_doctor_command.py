"""erde-nas doctor: a report, whatever it finds."""


def test_doctor(cli):
    done = cli("doctor")
    assert (done.code, done.err) == (0, "")
    for check in ("python", "torch devices", "onnxruntime providers", "nni tuners", "data sets"):
        assert check in done.out
    assert done.out.rstrip().endswith("warnings")
