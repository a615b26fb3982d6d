"""erde-nas profiles list, show, copy, check and detect."""

from erde_nas.recipe import shipped as resources


def test_list(cli):
    done = cli("profiles", "list")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()] == list(resources.shipped("profiles"))


def test_show_and_copy_give_the_file_with_its_comments(cli, tmp_path):
    text = resources.shipped("profiles")["cpu-1thread"].read_text()
    assert cli("profiles", "show", "cpu-1thread").out == text
    done = cli("profiles", "copy", "cpu-1thread", tmp_path)
    assert (done.code, done.out) == (0, f"{tmp_path / 'cpu-1thread.yaml'}\n")
    assert (tmp_path / "cpu-1thread.yaml").read_text() == text


def test_check(cli, refused, tiny, tmp_path):
    done = cli("profiles", "check", "cpu-1thread")
    assert done.code == 0, done.err
    assert done.out.endswith("profile 'cpu-1thread' is fine, and this machine may answer for it\n")
    elsewhere = tiny.variant(tmp_path / "a", "precision: int8", "match: {architecture: [riscv64]}").profile
    assert "it is for architecture riscv64, this machine is" in refused("profiles", "check", elsewhere)
    wrong = tiny.variant(tmp_path / "b", "precision: int8", "precision: int4\nbatch: 2").profile
    message = refused("profiles", "check", wrong)
    assert [line.split(": ")[1] for line in message.splitlines()] == ["precision", "batch"]


def test_a_detected_profile_answers_for_this_machine(cli, tmp_path):
    printed = cli("profiles", "detect")
    assert (printed.code, printed.err) == (0, "")
    done = cli("profiles", "detect", tmp_path / "here.yaml")
    assert (done.code, done.out) == (0, f"{tmp_path / 'here.yaml'}\n")
    assert (tmp_path / "here.yaml").read_text() == printed.out
    assert cli("profiles", "check", tmp_path / "here.yaml").code == 0


def test_detect_overwrites_nothing(refused, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    assert "exists already; give another name" in refused("profiles", "detect", tmp_path / "mine.yaml")
    assert "; choose another path, then run it again" in refused(
        "profiles", "detect", tmp_path / "mine.yaml" / "x.yaml"
    )
    assert (tmp_path / "mine.yaml").read_text() == "mine"
