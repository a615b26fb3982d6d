"""What pruned students are called."""

from erde_nas.compression.prune_students import pruned_name


def test_names_of_pruned_students():
    assert (pruned_name("a", 0.35), pruned_name("a", 0.0)) == ("a-p35", "a")
