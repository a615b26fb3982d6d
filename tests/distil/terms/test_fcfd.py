"""FCFD against the two networks run layer by layer, what its random paths are, and what it must leave alone."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erde_nas.distil.logit_standardisation import standardise
from erde_nas.distil.step import Step
from erde_nas.distil.terms.bridges import bridge, untracked
from erde_nas.distil.terms.fcfd import FCFD, FCFDOptions
from erde_nas.networks.arch import Exit
from erde_nas.networks.families import StageChoice, make_arch
from erde_nas.networks.models import MODELS, model_arch
from erde_nas.networks.network import EarlyExitNetwork
from tests.networks.builders import build

T, BATCH, WEIGHT = 2.5, 5, 0.7
ALL = 99  # more paths than there are: all of them run
IMAGES = torch.randint(0, 256, (BATCH, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SAMPLES = torch.rand(3, BATCH, generator=torch.Generator().manual_seed(1)) + 0.1


def network(family: str, widths: Sequence[int], depths: Sequence[int], exits: Sequence[int]) -> EarlyExitNetwork:
    arch = make_arch(
        family,
        image_shape=(1, 8, 8),
        classes=4,
        stem=8,
        stages=[StageChoice(depth, width, 3, 2) for depth, width in zip(depths, widths, strict=True)],
        exits=[Exit(block, "gap") for block in exits],
    )
    return build(arch)


def small() -> EarlyExitNetwork:
    """Hint points and exits 0, 1 and 3, in training mode."""
    return network("resnet", (8, 16), (2, 2), (0, 1, 3)).train()


def large() -> EarlyExitNetwork:
    """Hint points 1, 3 and 5, exits 3 and 5."""
    return network("mobilenet", (8, 16, 24), (2, 2, 2), (3, 5))


def at_hints(student: EarlyExitNetwork, teacher: EarlyExitNetwork, step: Step) -> tuple[list[Tensor], list[Tensor]]:
    """The features at the hint points of both; the last hint point is behind the norm that the last head starts with.

    The student's norm does not count its running statistics here: the step's own pass has done so.
    """
    mine, theirs = list(step.student_features[:-1]), list(step.teacher_features[:-1])
    with untracked(student):
        mine[-1] = student.parts[-1].head.features[0](mine[-1])
    theirs[-1] = teacher.parts[-1].head.features[0](theirs[-1])
    return mine, theirs


def make_step(student: EarlyExitNetwork, teacher: EarlyExitNetwork, exits: Sequence[int], done: float = 1.0) -> Step:
    logits, features = student.forward_all(IMAGES)
    with torch.no_grad():
        targets, theirs = teacher.forward_all(IMAGES)
    labels = torch.zeros(BATCH, dtype=torch.long)
    return Step(torch.stack(logits), labels, torch.stack([targets[e] for e in exits]), done, features, theirs)


def by_layers(made: EarlyExitNetwork, x: Tensor, start: int, stop: int) -> Tensor:
    """Blocks start..stop-1, one after the other; block 0 takes the images."""
    layers = [layer for segment in made.parts for layer in segment.body]
    for layer in layers[start + 2 if start else 0 : stop + 2]:  # the normalisation and the stem come first
        x = layer(x)
    return x


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """T² · KL for each sample."""
    kl = F.kl_div((student / T).log_softmax(1), (teacher / T).log_softmax(1), reduction="none", log_target=True)
    return T**2 * kl.sum(1)


def difference(x: Tensor, target: Tensor, *, pooled: bool) -> Tensor:
    loss = F.mse_loss(x, target, reduction="none").flatten(1).mean(1)
    if not pooled:
        return loss
    x, target = (F.adaptive_avg_pool2d(F.relu(z), 1).flatten(1) for z in (x, target))
    return loss + F.mse_loss(x, target, reduction="none").mean(1)


def test_all_paths_against_the_networks_run_by_hand() -> None:
    """Student hint points 0, 1, 3 (depths 1/4, 1/2, 1) meet the teacher's 1, 3, 5 (1/3, 2/3, 1); exit e learns from
    teacher exits 0, 1, 1, which lie on its blocks 3, 5, 5. Block 0 is followed by blocks for exits 1 and 2 on both
    sides (and exit 0 sits on it); block 1 for exit 2."""
    student, teacher, exits = small(), large(), (0, 1, 1)
    term = FCFD(student, teacher, exits, FCFDOptions(T, WEIGHT, ALL))
    blocks, ends, heads = (1, 3, 5), (3, 5, 5), (0, 1, 3)
    step = make_step(student, teacher, exits)
    targets, (mine, theirs) = step.teacher, at_hints(student, teacher, step)
    assert targets is not None
    bridged = [term.to_teacher[i](mine[i]) for i in range(3)]

    expected = [divergence(step.student[e], targets[e]) for e in range(3)]
    for i in range(3):  # how alike the features are; every hint point here is an exit
        expected[i] = expected[i] + WEIGHT * difference(bridged[i], theirs[i], pooled=True)
    for hint, reached in ((0, (1, 2)), (1, (2,))):
        x = bridged[hint]
        for later in range(hint + 1, 3):  # through the teacher, and alike at its later hint points
            x = by_layers(teacher, x, blocks[later - 1] + 1, blocks[later] + 1)
            seen = teacher.parts[-1].head.features[0](x) if later == 2 else x
            expected[later] = expected[later] + WEIGHT * difference(seen, theirs[later], pooled=True)
        for e in reached:
            x = by_layers(teacher, bridged[hint], blocks[hint] + 1, ends[e] + 1)
            expected[e] = expected[e] + divergence(teacher.parts[exits[e]].head(x), targets[e])
            y = by_layers(student, term.to_student[str(hint)](theirs[hint]), heads[hint] + 1, heads[e] + 1)
            expected[e] = expected[e] + divergence(student.parts[e].head(y), targets[e])
    got = term(step, SAMPLES)
    torch.testing.assert_close(got, (SAMPLES * torch.stack(expected)).mean(1), rtol=1e-4, atol=1e-5)


def test_features_are_pooled_only_where_an_exit_is() -> None:
    """One exit at block 3; block 1 ends a resolution. Without mixed paths, FCFD is KD and likeness."""
    student, teacher = network("resnet", (8, 16), (2, 2), (3,)).train(), network("resnet", (8, 8), (1, 1), (1,))
    term = FCFD(student, teacher, (0,), FCFDOptions(T, WEIGHT, paths=0))
    step = make_step(student, teacher, (0,))
    mine, theirs = at_hints(student, teacher, step)
    bridged = [term.to_teacher[i](mine[i]) for i in range(2)]
    assert step.teacher is not None
    alike = [difference(bridged[i], theirs[i], pooled=i == 1) for i in range(2)]
    expected = divergence(step.student[0], step.teacher[0]) + WEIGHT * (alike[0] + alike[1])
    torch.testing.assert_close(term(step, SAMPLES[:1]), (SAMPLES[0] * expected).mean().view(1), rtol=1e-4, atol=1e-5)


def test_the_paths_logits_have_a_weight_of_their_own() -> None:
    student, teacher, exits = small(), large(), (0, 1, 1)
    values = []
    for weight in (0.0, 0.2, 1.0):
        options = FCFDOptions(T, feature_weight=0.0, paths=ALL, path_weight=weight)
        torch.manual_seed(0)  # of the bridges
        values.append(FCFD(student, teacher, exits, options)(make_step(student, teacher, exits), SAMPLES))
    torch.testing.assert_close(values[1] - values[0], 0.2 * (values[2] - values[0]), rtol=1e-3, atol=1e-4)
    assert (values[2] > values[0])[1:].all()


def test_the_weight_of_the_features_rises_over_the_first_twelfth() -> None:
    student, teacher = small(), large()
    term = FCFD(student, teacher, (0, 1, 1), FCFDOptions(T, WEIGHT, paths=0))
    step = make_step(student, teacher, (0, 1, 1), done=0.0)
    assert step.teacher is not None
    plain = torch.stack([divergence(s, t) for s, t in zip(step.student, step.teacher, strict=True)]).mean(1)
    ones = torch.ones(3, BATCH)
    torch.testing.assert_close(term(step, ones), plain)
    half, full = (term(make_step(student, teacher, (0, 1, 1), done), ones) - plain for done in (1 / 24, 0.5))
    torch.testing.assert_close(2 * half, full, rtol=1e-4, atol=1e-5)


def test_a_network_with_one_exit_has_the_paper_s_paths() -> None:
    """Four stages: over after the first, second or third, in both directions, never before the head alone."""
    plain = network("resnet", (8, 8, 8, 8), (1, 1, 1, 1), (3,))
    term = FCFD(plain, network("resnet", (8, 8, 8, 8), (2, 1, 2, 1), (1, 2, 5)), (2,), FCFDOptions(T, paths=ALL))
    paths, share = term._pick()
    assert share == 1
    assert sorted(paths) == [(hint, side) for hint in range(3) for side in (False, True)]


def test_two_different_paths_are_picked_evenly_and_by_the_seed_alone() -> None:
    terms = [FCFD(small(), large(), (0, 1, 1), FCFDOptions(T, seed=seed)) for seed in (0, 0, 1)]
    first, second, other = ([term._pick()[0] for _ in range(600)] for term in terms)
    assert first == second != other
    pairs = [frozenset(pick) for pick in first]
    assert {len(pair) for pair in pairs} == {2}
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    assert len(counts) == 6  # two of four
    assert all(60 < count < 140 for count in counts.values())  # 100, four standard deviations


def test_in_a_cuda_graph_all_paths_weigh_as_much_as_their_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is the mean over all picks: a graph cannot pick, but its gradient is the same on average."""
    student, teacher, exits = small(), large(), (0, 1, 1)
    term = FCFD(student, teacher, exits, FCFDOptions(T))
    step = make_step(student, teacher, exits)
    paths = [(hint, side) for hint in (0, 1) for side in (True, False)]
    values = []
    for pair in combinations(paths, 2):
        monkeypatch.setattr(term, "_pick", lambda pair=pair: (list(pair), 1.0))
        values.append(term(step, SAMPLES).detach())
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    torch.testing.assert_close(term(step, SAMPLES).detach(), torch.stack(values).mean(0), rtol=1e-4, atol=1e-5)


def buffers(made: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in made.buffers()]


def equal(some: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_neither_network_is_part_of_the_term_or_marked_by_it() -> None:
    """Mixed paths leave the student's running statistics alone, and the teacher altogether; it may even be training."""
    student, teacher, exits = small(), large().train(), (0, 1, 1)
    weights = [parameter.detach().clone() for parameter in teacher.parameters()]
    statistics = buffers(teacher)
    term = FCFD(student, teacher, exits, FCFDOptions(T, paths=ALL))
    assert {name.split(".")[0] for name, _ in term.named_parameters()} == {"to_teacher", "to_student"}
    assert {name.split(".")[0] for name, _ in term.named_buffers()} == {"to_teacher", "to_student"}
    step, before = make_step(student, large(), exits), buffers(student)
    term(step, SAMPLES).sum().backward()
    assert student.training
    assert equal(buffers(student), before)
    assert all(module.track_running_stats for module in student.modules() if isinstance(module, nn.BatchNorm2d))
    assert teacher.training
    assert equal(buffers(teacher), statistics)
    assert equal(teacher.parameters(), weights)
    for made in (teacher, term.networks[1]):
        assert all(parameter.grad is None for parameter in made.parameters())
    assert all(parameter.grad is not None for parameter in (*student.parameters(), *term.parameters()))


def test_the_paths_teach_the_student_on_both_sides_of_the_change() -> None:
    """Into the teacher: what lies before, through the frozen teacher. Into the student: what lies behind."""
    student, teacher, exits = small(), large(), (0, 1, 1)
    term = FCFD(student, teacher, exits, FCFDOptions(T, feature_weight=0.0))
    step = make_step(student, teacher, exits)
    blocks = [layer for segment in student.parts for layer in segment.body][2:]

    def reached(losses: list[tuple[int, Tensor]]) -> list[bool]:
        parameters = [next(block.parameters()) for block in blocks]
        total = sum(loss.sum() for _, loss in losses)
        found = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
        return [gradient is not None and bool(gradient.any()) for gradient in found]

    bridged = term.to_teacher[1](step.student_features[1])
    assert reached(term._through_teacher(step, 1, bridged)) == [True, True, False, False]
    assert reached(term._through_student(step, 1)) == [False, False, True, True]


def test_an_exit_without_weight_teaches_nothing() -> None:
    student, teacher, exits = small(), large(), (0, 1, 1)
    term = FCFD(student, teacher, exits, FCFDOptions(T, paths=ALL))
    first = torch.tensor([1.0, 0.0, 0.0])[:, None].expand(3, BATCH)
    loss = term(make_step(student, teacher, exits), first)
    assert loss[0] > 0
    assert not loss[1:].any()
    loss.sum().backward()
    for segment in student.parts[1:]:
        assert not any(p.grad.any() for p in segment.parameters() if p.grad is not None)
    assert any(p.grad.any() for p in student.parts[0].parameters() if p.grad is not None)


def test_standardised_logits_stay_among_themselves() -> None:
    """Standardising undoes a scale and a shift: paths that give scaled logits then cost the same."""
    student, teacher, exits = small(), large(), (0, 1, 1)
    step = make_step(student, teacher, exits)
    assert step.teacher is not None
    logits, target = step.student[2], standardise(step.teacher[2])
    seen = Step(standardise(step.student), step.labels, standardise(step.teacher), 1.0)
    term = FCFD(student, teacher, exits, FCFDOptions(T, standardised=True))
    for change in (lambda x: x, lambda x: 3 * x + 1):
        exit_, loss = term._agreement(seen, 2, change(logits))
        assert exit_ == 2
        torch.testing.assert_close(loss, divergence(standardise(logits), target), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("have", "want", "first"),
    [
        (4, 4, nn.Conv2d),
        (8, 4, nn.Conv2d),
        (7, 4, nn.Conv2d),
        (4, 8, nn.ConvTranspose2d),
        (8, 2, nn.AdaptiveAvgPool2d),
        (2, 8, nn.Upsample),
        (1, 1, nn.Conv2d),
        (3, 1, nn.AdaptiveAvgPool2d),
    ],
)
@pytest.mark.parametrize("rectified", [False, True])
def test_bridges_meet_channels_size_and_sign(have: int, want: int, first: type[nn.Module], rectified: bool) -> None:
    source, target = torch.randn(4, 3, have, have), torch.randn(4, 5, want, want)
    made = bridge(source, target.relu() if rectified else target)
    assert isinstance(made[0], first)
    assert made(source).shape == target.shape
    assert isinstance(made[-1], nn.LeakyReLU if rectified else nn.BatchNorm2d)


def test_untracked_normalises_by_the_batch_and_tracks_again_afterwards() -> None:
    norm, x = nn.BatchNorm2d(2), torch.randn(4, 2, 3, 3)
    before = buffers(norm)
    with untracked(norm):
        torch.testing.assert_close(norm(x), F.batch_norm(x, None, None, training=True))
    assert equal(buffers(norm), before)
    with pytest.raises(ValueError, match="expected 4D"), untracked(norm):
        norm(x[0])
    norm(x)
    assert not equal(buffers(norm), before)


def test_bf16_features_are_taken_as_they_are() -> None:
    student, teacher, exits = small(), large(), (0, 1, 1)
    term = FCFD(student, teacher, exits, FCFDOptions(T, WEIGHT, ALL))
    plain = term(make_step(student, teacher, exits), SAMPLES)
    with torch.autocast("cpu", torch.bfloat16):
        step = make_step(student, teacher, exits)
    step = Step(
        step.student.float(), step.labels, step.teacher.float(), 1.0, step.student_features, step.teacher_features
    )
    assert {x.dtype for x in (*step.student_features, *step.teacher_features)} == {torch.bfloat16}
    low = term(step, SAMPLES)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, plain, rtol=0.1, atol=0.0)
    low.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (*student.parameters(), *term.parameters()))


@pytest.mark.parametrize(
    ("student", "teacher", "channels", "first", "rectified"),
    [
        ("mobilenetv2", "vgg13", [(12, 128), (16, 256), (48, 512), (1280, 512)], nn.ConvTranspose2d, True),
        ("shufflenetv2", "resnet8x4", [(116, 64), (232, 128), (1024, 256)], nn.ConvTranspose2d, True),
        ("wrn-16-2", "wrn-16-2", [(32, 32), (64, 64), (128, 128)], nn.Conv2d, False),  # after the last norm
    ],
)
def test_the_deepest_features_of_published_pairs_are_what_the_classifier_reads(
    student: str, teacher: str, channels: list[tuple[int, int]], first: type[nn.Module], rectified: bool
) -> None:
    """Channels as in the public code, which bridges MobileNetV2's and ShuffleNetV2's to twice their side."""
    small, large = (
        EarlyExitNetwork(
            model_arch(MODELS[name], image_shape=(3, 32, 32), classes=100, early=(), head="gap"), [0.5] * 3, [0.2] * 3
        )
        for name in (student, teacher)
    )
    bridges = FCFD(small, large, (0,), FCFDOptions(T)).to_teacher
    assert [(made[0].in_channels, made[0].out_channels) for made in bridges] == channels
    assert isinstance(bridges[-1][0], first)
    assert isinstance(bridges[-1][-1], nn.LeakyReLU) == rectified
