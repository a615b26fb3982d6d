"""An exported student as a service: throughput and latency under arrivals that do not wait for answers.

    python benchmarks/serving.py RUN --student ID [--seconds 3] [--repeats 3] [--batch 16] [--out FILE.csv]

Three services of one core each, on loopback: the exported bundle, the same student without its early exits in the same
precision, and the run's teacher without exits. A client on another core sends requests at the times of a Poisson
process, whether or not earlier ones were answered, and takes a request's latency from the time at which it was due: a
service that falls behind cannot hide it (coordinated omission). Requests hold one image, or `--batch` images, of the
test split in a seeded random order. The bundle answers single images through its file with control flow, and batches
segment by segment, without the images that have left.

Offered loads are shares of what each of the three services can do at most (the best of three tries), so that each is
seen below its limit and the slower ones above it. A row is one service under one load in one repeat; what was not
answered a second after the last arrival does not count in the percentiles, and `answered` says so. Latencies are what
the machine gave, whatever else ran on it; `server_cpu_ms_per_image` is the processor time that a service spent.
"""

import argparse
import csv
import json
import multiprocessing
import os
import platform
import select
import socket
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from erde_nas.device import bundle_runner as runner

HEAD = struct.Struct("<II")  # number of the request or answer, images in it
GRACE_S = 1.0
MAX_REQUESTS = 50_000  # of one measurement
SHARES = (0.5, 0.8)
Answer = Callable[[np.ndarray], np.ndarray]  # images (n, c, h, w) uint8 -> exits (n,)


@dataclass(frozen=True)
class Service:
    """What one server process answers with. `segments` hold one file where there is no early exit."""

    name: str
    model: Path
    segments: tuple[Path, ...]
    thresholds: tuple[float, ...]

    def open(self, batched: bool) -> Answer:
        """The function that answers requests, one image or a batch at a time."""
        if batched:
            sessions = [runner.open_session(path.read_bytes()) for path in self.segments]
            return lambda images: runner.run_batch(sessions, images, self.thresholds)[1]
        session = runner.open_session(self.model.read_bytes())
        return lambda images: np.array([runner.run_one(session, images[0], self.thresholds)[1]])


def serve(service: Service, batched: bool, shape: tuple[int, ...], core: int, ready: Connection) -> None:
    """A server process: one connection, requests in their order, until the client closes."""
    os.sched_setaffinity(0, {core})
    answer = service.open(batched)
    answer(np.zeros((1, *shape), np.uint8))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready.send(listener.getsockname()[1])
        connection, _ = listener.accept()
    size, begin, images_done = int(np.prod(shape)), time.process_time(), 0
    # A client that gives up leaves half a request, or none to read the answer.
    with connection, connection.makefile("rb") as stream, suppress(BrokenPipeError, ConnectionResetError, ValueError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            number, count = HEAD.unpack(head)
            images = np.frombuffer(stream.read(count * size), np.uint8).reshape(count, *shape)
            connection.sendall(HEAD.pack(number, count) + answer(images).astype(np.uint8).tobytes())
            images_done += count
    ready.send((time.process_time() - begin) / max(1, images_done))


@dataclass(frozen=True)
class Seen:
    """What the client saw: seconds from due to answered, how late it sent, exits of all answered images; and what the
    server spent: seconds of processor time per image, which others on the machine change little."""

    latencies: np.ndarray
    late: np.ndarray
    exits: np.ndarray
    elapsed_s: float
    cpu_s: float = float("nan")


def drive(port: int, requests: list[bytes], due: np.ndarray, limit_s: float) -> Seen:
    """Send request i at `due[i]` seconds, whatever was answered; give up `limit_s` seconds after the start."""
    count, batch = len(requests), HEAD.unpack(requests[0][: HEAD.size])[1]
    answered, sent_at = np.full(count, np.nan), np.full(count, np.nan)
    exits, waiting, inbox = [], bytearray(), bytearray()
    size, done, number = HEAD.size + batch, 0, 0
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setblocking(False)
        begin = time.perf_counter()
        while done < count and (now := time.perf_counter() - begin) < limit_s:
            while number < count and due[number] <= now and len(waiting) < 1 << 20:
                sent_at[number] = now
                waiting += requests[number]
                number += 1
            pause = max(0.0, due[number] - now) if number < count and not waiting else 0.001
            readable, writable, _ = select.select([link], [link] if waiting else [], [], min(pause, 0.05))
            if writable:
                del waiting[: link.send(waiting)]
            if readable:
                inbox += link.recv(1 << 16)
                now = time.perf_counter() - begin
                while len(inbox) >= size:
                    answered[HEAD.unpack_from(inbox)[0]] = now
                    exits.append(bytes(inbox[HEAD.size : size]))
                    del inbox[:size]
                    done += 1
        elapsed = time.perf_counter() - begin
    known = ~np.isnan(answered)
    late = sent_at[known] - due[known]
    return Seen(answered[known] - due[known], late, np.frombuffer(b"".join(exits), np.uint8), elapsed)


def measure(service: Service, requests: list[bytes], due: np.ndarray, shape: tuple[int, ...], limit_s: float) -> Seen:
    """One service in a fresh process under one sequence of arrivals."""
    first, *_, last = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    ready, theirs = context.Pipe()
    batched = HEAD.unpack(requests[0][: HEAD.size])[1] > 1
    server = context.Process(target=serve, args=(service, batched, shape, last, theirs), daemon=True)
    server.start()
    everywhere = os.sched_getaffinity(0)
    try:
        if not ready.poll(60):
            raise RuntimeError(f"the service '{service.name}' did not start within a minute")
        os.sched_setaffinity(0, {first})
        seen = drive(ready.recv(), requests, due, limit_s)
        return replace(seen, cpu_s=ready.recv()) if ready.poll(10) else seen
    finally:
        os.sched_setaffinity(0, everywhere)
        server.join(5)
        server.kill()


def make_requests(images: np.ndarray, batch: int, count: int, generator: np.random.Generator) -> list[bytes]:
    """Requests of `batch` random images each, as they go over the wire."""
    picks = generator.integers(0, len(images), (count, batch))
    return [HEAD.pack(number, batch) + images[pick].tobytes() for number, pick in enumerate(picks)]


def make_services(run: Path, student: str, folder: Path) -> tuple[list[Service], np.ndarray, dict[str, Any]]:
    """Export the bundle and the network without exits; the services, the test images, and student.json."""
    from erde_nas.bundle.measured_student import find_student
    from erde_nas.bundle.write import write_bundle
    from erde_nas.data.load import load_dataset
    from erde_nas.files import read_json
    from erde_nas.networks.network import drop_early_exits
    from erde_nas.networks.weights import load_network
    from erde_nas.onnx_files.file_kind import FileKind
    from erde_nas.onnx_files.write import make_segments, write_file
    from erde_nas.report_data.report_file import read_report
    from erde_nas.run.folder import existing_run

    store = existing_run(run)
    saved, recipe = store.manifest().data_dir, store.recipe()
    dataset = load_dataset(recipe.dataset, Path(saved) if saved else None)
    source = find_student(run, student, read_report(run))
    write_bundle(source, folder / "bundle")
    described = read_json(folder / "bundle" / "student.json")
    default = described["default"]
    model = described["models"][default["model"]]
    whole = drop_early_exits(load_network(source.folder / "weights.safetensors").eval())
    calibration = dataset.validation.images[: recipe.compress.calibration_images]
    kind = FileKind(model["precision"])
    static = make_segments(whole, [kind], calibration)[kind]
    paths = {name: folder / f"{name}.onnx" for name in ("static", "teacher")}
    write_file(static, (), paths["static"], {})
    paths["teacher"].write_bytes((run / "teacher" / "no-exits.onnx").read_bytes())
    segments = tuple(folder / "bundle" / name for name in model["segments"])
    return (
        [
            Service("bundle", folder / "bundle" / default["model"], segments, tuple(default["thresholds"])),
            Service("student without exits", paths["static"], (_free_batch(paths["static"]),), ()),
            Service("teacher", paths["teacher"], (_free_batch(paths["teacher"]),), ()),
        ],
        dataset.test.images,
        described,
    )


def _free_batch(model: Path) -> Path:
    """The one segment of a file without exits, which takes any number of images."""
    import onnx

    from erde_nas.onnx_files.nest import split

    path = model.with_suffix(".batch.onnx")
    onnx.save(split(onnx.load(model))[0], path)
    return path


def run_all(services: list[Service], images: np.ndarray, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Every service under every load, in turn, `--repeats` times."""
    rows, shape = [], images.shape[1:]
    for batch in (1, given.batch):
        generator = np.random.Generator(np.random.Philox(given.seed))
        limits = {}
        for service in services:
            requests = make_requests(images, batch, MAX_REQUESTS // 10, generator)
            tries = [measure(service, requests, np.zeros(len(requests)), shape, given.seconds) for _ in range(3)]
            limits[service.name] = max(len(seen.latencies) / seen.elapsed_s for seen in tries)
            print(f"{service.name}, {batch} image(s) a request: at most {limits[service.name]:.0f} requests/s")
        loads = sorted(share * limit for share in SHARES for limit in limits.values())
        for repeat in range(given.repeats):
            for load in loads:
                count = max(20, min(MAX_REQUESTS, round(load * given.seconds)))
                due = np.cumsum(generator.exponential(1 / load, count))
                requests = make_requests(images, batch, count, generator)
                for service in services:
                    seen = measure(service, requests, due, shape, due[-1] + GRACE_S)
                    row = {"service": service.name, "images_per_request": batch, "repeat": repeat}
                    row |= {"limit_requests_per_s": round(limits[service.name], 1), "offered_per_s": round(load, 1)}
                    rows.append(row | _figures(seen, count, batch))
                    print(json.dumps(rows[-1]))
    return rows


def _figures(seen: Seen, count: int, batch: int) -> dict[str, Any]:
    ms = seen.latencies * 1e3 if len(seen.latencies) else np.array([np.nan])
    late = seen.late * 1e3 if len(seen.late) else np.array([np.nan])
    return {
        "requests": count,
        "answered": len(seen.latencies),
        "throughput_images_per_s": round(len(seen.latencies) * batch / seen.elapsed_s, 1),
        "server_cpu_ms_per_image": round(seen.cpu_s * 1e3, 4),
        "mean_ms": round(float(ms.mean()), 4),
        "p50_ms": round(float(np.percentile(ms, 50)), 4),
        "p99_ms": round(float(np.percentile(ms, 99)), 4),
        "sent_late_p99_ms": round(float(np.percentile(late, 99)), 4),
        "mean_exit": round(float(seen.exits.mean()), 4) if len(seen.exits) else "",
    }


def main() -> None:
    """Measure and write the CSV."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--student", required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("server and client need a core each, but this process may use one alone")
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        services, images, described = make_services(given.run, given.student, Path(folder))
        rows = run_all(services, images, given)
    conditions = {
        "recipe": described["provenance"]["recipe"],
        "student": described["student"],
        "model": described["default"]["model"],
        "cpu": described["provenance"]["measured_on"]["cpu"],
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "load_average_before": round(load_before, 2),
    }
    name = f"serving-{conditions['recipe']}-2cores.csv"
    out = given.out or Path(__file__).parent / "results" / name
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *conditions])
        writer.writeheader()
        writer.writerows({**row, **conditions} for row in rows)
    print(summary(rows), out, sep="\n")


def summary(rows: list[dict[str, Any]]) -> str:
    """Medians over the repeats."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["images_per_request"], row["offered_per_s"], row["service"]), []).append(row)
    lines = []
    for (batch, load, service), mine in groups.items():
        p50, p99, cpu, answered = (
            statistics.median(row[key] for row in mine)
            for key in ("p50_ms", "p99_ms", "server_cpu_ms_per_image", "answered")
        )
        lines.append(
            f"{batch:3} image(s), {load:8.1f}/s, {service:22} p50 {p50:9.3f} p99 {p99:9.3f} ms, "
            f"{cpu:.4f} CPU-ms an image, {answered / mine[0]['requests']:.0%} answered"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
