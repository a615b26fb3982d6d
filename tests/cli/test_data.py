"""erde-nas data list and fetch."""

import pytest


def test_list_names_every_data_set(cli, tmp_path):
    done = cli("data", "list", "--data-dir", tmp_path)
    assert (done.code, done.err) == (0, "")
    rows = {line.split()[0]: line for line in done.out.splitlines()[2:]}
    assert rows.keys() == {
        "digits", "fashion-mnist", "fashion-mnist-small", "cifar10", "cifar100", "svhn", "tiny-imagenet", "folder",
        "npz",
    }  # fmt: skip
    assert rows["cifar10"].endswith("not here")
    assert rows["digits"].endswith("scikit-learn")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet", "unknown data set 'imagenet'; choose from fashion-mnist, cifar10"),
        ("digits", "digits comes with scikit-learn, there is nothing to fetch"),
        ("fashion-mnist-small", "fashion-mnist-small comes with erde-nas, there is nothing to fetch"),
    ],
)
def test_fetching_what_cannot_be_fetched(refused, tmp_path, name, message):
    assert message in refused("data", "fetch", name, "--data-dir", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fetching_what_is_there_prints_its_folder_alone(cli, tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(b"")
    done = cli("data", "fetch", "cifar10", "--data-dir", tmp_path)
    assert (done.code, done.out, done.err) == (0, f"{folder}\n", "")


def test_progress_goes_to_the_standard_error(cli, tmp_path, monkeypatch):
    def fetch(name, data_dir, progress):
        progress("cifar.tar.gz", 10, 20)
        progress("cifar.tar.gz", 20, 20)
        return tmp_path / "there"

    monkeypatch.setattr("erde_nas.data.fetch.fetch", fetch)
    done = cli("data", "fetch", "cifar10")
    assert (done.code, done.out) == (0, f"{tmp_path / 'there'}\n")
    assert "cifar.tar.gz" in done.err


def test_ctrl_c_while_fetching(cli, monkeypatch):
    def fetch(name, data_dir, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr("erde_nas.data.fetch.fetch", fetch)
    assert cli("data", "fetch", "cifar10").code == 130
