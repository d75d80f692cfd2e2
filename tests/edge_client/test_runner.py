"""Whole runs, on real server processes: simulator and recordings, finished, stopped and lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from beamloop.core import LeaseHeld, Measurement, NotArmed, OutputExists, Suggestion
from beamloop.edge_client import RemoteInstrument, connect
from beamloop.edge_client.embedded import embedded
from beamloop.edge_client.experiment import Experiment, read_experiment
from beamloop.edge_client.progress import Silence
from beamloop.edge_client.record.events import Acquired, Commanded, Framed
from beamloop.edge_client.record.journal import read
from beamloop.edge_client.runner import Finished, RunRequest, run_experiment
from beamloop.streaming.files import open_recording, write_signal

EXAMPLES = Path(__file__).parents[2] / "examples"
WINDOW, BACKGROUND = (705.0, 735.0), (640.0, 700.0)

torch.set_num_threads(1)


def small(**changes: object) -> Experiment:
    """Return the simulator example, made small."""
    experiment, _ = read_experiment(EXAMPLES / "simulator.toml")
    data = experiment.model_dump()
    data["pool"]["shape"] = (12, 12)
    data["overview"]["shape"] = (64, 64)
    data["features"] |= {"components": 4}
    data["policy"]["settings"] = {"first": 4}
    data["stop"]["points"] = 10
    return Experiment.model_validate(data | changes)


def request(tmp_path: Path, experiment: Experiment | None = None, arm: bool = False) -> RunRequest:
    return RunRequest(experiment or small(), "# as it stands", "simulator", tmp_path, arm)


@pytest.fixture(autouse=True, scope="module")
def quick_pictures() -> Iterator[None]:
    """Reports are looked at elsewhere; here they only need to be made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beamloop.edge_client.reporting.page.DOTS_PER_INCH", 40)
        yield


def run_on_a_fresh_simulator(folder: Path) -> Finished:
    with embedded("simulator") as address, connect(address) as stem:
        return run_experiment(request(folder), stem)


@pytest.fixture(scope="module")
def finished(quick_pictures: None, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_on_a_fresh_simulator(tmp_path_factory.mktemp("runs"))


def test_a_run_ends_with_all_it_promises(finished: Finished) -> None:
    assert (finished.ended.outcome, finished.ended.reason) == ("finished", "10 of 10 points measured")
    assert sorted(path.name for path in finished.folder.path.iterdir()) == [
        "experiment.toml", "journal.sqlite", "journal.sqlite-mark", "report.html", "run.h5",
    ]  # fmt: skip
    assert finished.folder.experiment.read_text() == "# as it stands"
    assert "SIMULATOR" in finished.folder.report.read_text()


def test_the_truth_is_the_ratio_of_the_expected_spectra(finished: Finished, simulator: str) -> None:
    with connect(simulator, purpose="truth") as stem:
        expected = stem.scan("eels", (12, 12), 0.05, expected=True)
    energy = expected.axes[-1].coordinates()
    sums = [
        expected.data[..., (energy >= low) & (energy <= high)].astype(float).sum(-1)
        for low, high in (WINDOW, BACKGROUND)
    ]
    assert finished.seen.truth is not None
    np.testing.assert_allclose(finished.seen.truth.reshape(12, 12), sums[0] / sums[1], rtol=1e-5)


def test_values_are_made_from_the_spectra_in_the_run_file(finished: Finished) -> None:
    with h5py.File(finished.folder.run_file) as file:
        main = file["Measurement_000/Channel_001/measured/measured"]
        energy, spectra = main.parent["energy_loss"][...], main[...].astype(float)
        positions = main.parent["positions"][...]
    sums = [spectra[:, (energy >= low) & (energy <= high)].sum(1) for low, high in (WINDOW, BACKGROUND)]
    measured = finished.story.measurements
    np.testing.assert_allclose([m.value for m in measured], sums[0] / sums[1], rtol=1e-12)
    np.testing.assert_allclose([[1e9 * c for c in m.position] for m in measured], positions, atol=1e-9)


def test_everything_that_enters_a_decision_is_in_the_journal(finished: Finished) -> None:
    events = [entry.event for entry in read(finished.folder.journal)]
    kinds = [event.kind for event in events]
    assert kinds[:5] == ["opened", "described", "clocked", "leased", "noted"]
    assert kinds.index("installed") < kinds.index("commanded")
    assert kinds[-2:] == ["asked", "acquired"]
    assert [e.step for e in events if isinstance(e, Commanded)] == list(range(10))
    assert sum(e.frames for e in events if isinstance(e, Framed)) == 10
    assert [e.name for e in events if isinstance(e, Acquired)] == ["overview", "truth"]
    assert finished.story.opened.settings["seed"] == 1


def test_places_are_never_measured_twice(finished: Finished) -> None:
    candidates = [m.candidate for m in finished.story.measurements]
    assert len(set(candidates)) == 10


def test_the_same_seed_on_a_fresh_instrument_gives_the_same_run(finished: Finished, tmp_path: Path) -> None:
    again = run_on_a_fresh_simulator(tmp_path)
    assert [(m.candidate, m.value) for m in again.story.measurements] == [
        (m.candidate, m.value) for m in finished.story.measurements
    ]
    assert again.seen.belief is not None
    assert finished.seen.belief is not None
    np.testing.assert_array_equal(again.seen.belief.mean, finished.seen.belief.mean)


class StoppingOnlooker(Silence):
    """Stops the instrument after so many values, as a person in another room would."""

    def __init__(self, after: int, stem: RemoteInstrument) -> None:
        self._left, self._stem = after, stem

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        self._left -= 1
        if self._left == 0:
            self._stem.stop()


@pytest.fixture
def armed_again(simulator: str) -> Iterator[None]:
    yield
    with connect(simulator, purpose="arm") as stem:
        stem.arm()


@pytest.mark.usefixtures("armed_again")
def test_a_stop_from_elsewhere_ends_the_run_and_only_arming_starts_another(simulator: str, tmp_path: Path) -> None:
    plain = small(policy={"name": "random"}, features=None, stop={"points": 100})
    with connect(simulator) as stem, connect(simulator) as elsewhere:
        stopped = run_experiment(request(tmp_path, plain), stem, StoppingOnlooker(3, elsewhere))
        assert stopped.ended.outcome == "stopped"
        assert stopped.ended.reason.startswith("stopped by a person")
        assert 3 <= len(stopped.story.measurements) < 100
        assert stopped.seen.truth is None, "a stopped instrument is asked nothing more"
        assert "stopped by a person" in stopped.folder.report.read_text()
        few = small(policy={"name": "random"}, features=None, stop={"points": 2})
        with pytest.raises(NotArmed, match="--arm"):
            run_experiment(request(tmp_path / "again", few), stem)
        assert not (tmp_path / "again").exists(), "a run that was refused leaves no folder"
        assert run_experiment(request(tmp_path / "armed", few, arm=True), stem).ended.outcome == "finished"


def test_a_value_that_cannot_be_real_is_a_failed_measurement_and_its_frame_is_kept(
    simulator: str, tmp_path: Path
) -> None:
    everything = small(policy={"name": "random"}, features=None)
    target = {**everything.target.model_dump(), "plausible": (0.8, 2.0)}
    experiment = small(policy={"name": "random"}, features=None, target=target, stop={"points": 5})
    with connect(simulator) as stem:
        done = run_experiment(request(tmp_path, experiment), stem)
    failed = [step.declined for step in done.story.steps if step.declined is not None]
    assert len(done.story.measurements) == 5
    assert all(0.8 <= m.value <= 2.0 for m in done.story.measurements)
    assert failed
    assert all(d.outcome == "failed" and d.error == "ValueUnusable" for d in failed)
    with h5py.File(done.folder.run_file) as file:
        kept = file["Measurement_000/Channel_001/measured/measured"]
        assert len(kept) == len(failed) + 5


def test_a_lease_held_by_another_leaves_no_folder(simulator: str, tmp_path: Path) -> None:
    with (
        connect(simulator, purpose="alignment"),
        connect(simulator) as stem,
        pytest.raises(LeaseHeld, match=r"\(alignment\)"),
    ):
        run_experiment(request(tmp_path / "runs"), stem)
    assert not (tmp_path / "runs").exists()


class KillingOnlooker(Silence):
    """Kills the server after so many values."""

    def __init__(self, after: int, server: subprocess.Popen[str]) -> None:
        self._left, self._server = after, server

    def arrived(self, suggestion: Suggestion, measurement: Measurement) -> None:
        self._left -= 1
        if self._left == 0:
            self._server.kill()


def test_an_instrument_that_dies_ends_the_run_with_everything_kept(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "beamloop", "serve", "simulator", "--port", "0", "--json"]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["port"]
        try:
            plain = small(policy={"name": "random"}, features=None, stop={"points": 100})
            with connect(f"127.0.0.1:{port}") as stem:
                lost = run_experiment(request(tmp_path, plain), stem, KillingOnlooker(4, server))
        finally:
            server.kill()
    assert lost.ended.outcome == "failed"
    assert "InstrumentUnreachable" in lost.ended.reason or "ChannelClosed" in lost.ended.reason
    n = len(lost.story.measurements)
    assert 4 <= n < 100
    with h5py.File(lost.folder.run_file) as file:
        assert file["Measurement_000/Channel_001/measured/measured"].shape[0] == n
    assert lost.folder.report.exists()


def arrivals(journal: Path) -> int:
    return sum(entry.event.kind == "arrived" for entry in read(journal))


def test_ctrl_c_ends_a_run_in_order(simulator: str, tmp_path: Path) -> None:
    file = tmp_path / "long.toml"
    text = (EXAMPLES / "simulator.toml").read_text().replace("gp-features", "random")
    file.write_text(text.replace("shape = [256, 256]", "shape = [32, 32]").replace("components = 8", "components = 2"))
    command = [sys.executable, "-m", "beamloop", "run", str(file), "--instrument", simulator]
    command += ["-o", str(tmp_path), "--points", "4000", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        until = time.monotonic() + 60
        while sum(arrivals(journal) for journal in tmp_path.glob("*/journal.sqlite")) < 3:
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGINT)
        out, complaints = child.communicate(timeout=60)
    assert child.returncode == 0, complaints
    told = json.loads(out)
    assert (told["outcome"], told["reason"]) == ("stopped", "Ctrl-C")
    assert Path(told["report"]).exists()
    assert told["measured"] == arrivals(Path(told["journal"])) >= 3
    with connect(simulator) as looking:
        assert looking.state().lease is None


def commanded(journal: Path) -> bool:
    return any(entry.event.kind == "commanded" for entry in read(journal))


def test_a_second_ctrl_c_aborts_without_waiting_and_the_journal_is_whole(tmp_path: Path) -> None:
    slow, file = tmp_path / "slow.toml", tmp_path / "experiment.toml"
    slow.write_text('folder = "state"\n[instrument]\nplugin = "simulator"\nsettings = { pace = 1.0 }\n')
    text = (EXAMPLES / "simulator.toml").read_text().replace("gp-features", "random")
    text = text.replace("shape = [256, 256]", "shape = [32, 32]").replace("components = 8", "components = 2")
    file.write_text(text.replace("dwell_s = 0.05", "dwell_s = 10.0"))
    command = [sys.executable, "-m", "beamloop", "run", str(file), "--instrument", str(slow)]
    command += ["-o", str(tmp_path / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        until = time.monotonic() + 60
        while not any(commanded(journal) for journal in tmp_path.glob("runs/*/journal.sqlite")):
            assert child.poll() is None, child.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        for _ in range(2):
            os.kill(child.pid, signal.SIGINT)
            time.sleep(0.3)
        told, _ = child.communicate(timeout=60)
    assert child.returncode == 130, told
    assert "Go on with: beamloop resume latest --runs" in told
    (journal,) = tmp_path.glob("runs/*/journal.sqlite")
    kinds = [entry.event.kind for entry in read(journal)]
    assert "arrived" not in kinds, "the measurement of 10 s was not waited for"
    with h5py.File(journal.parent / "run.h5") as kept:
        assert kept["Measurement_000/Channel_000/overview/overview"].shape == (32, 32)


def test_a_recording_of_ours_runs_the_same_experiment(simulator: str, tmp_path: Path) -> None:
    recording = tmp_path / "recording.h5"
    with connect(simulator, purpose="recording") as stem:
        spectra, overview = stem.scan("eels", (12, 12), 0.05), stem.scan("haadf", (64, 64), 4e-6)
    with h5py.File(recording, "x") as file:
        write_signal(file, "Channel_000", "eels", spectra)
        write_signal(file, "Channel_001", "haadf", overview)
    with embedded(f"replay:{recording}") as address, connect(address) as replayed:
        run = run_experiment(request(tmp_path / "runs"), replayed)
    assert run.ended.outcome == "finished"
    assert run.story.described.info.source == "recording"
    assert run.seen.overview is not None
    np.testing.assert_array_equal(run.seen.overview.data, overview.data)
    energy = spectra.axes[-1].coordinates()
    counts = spectra.data.astype(float)
    sums = [counts[..., (energy >= low) & (energy <= high)].sum(-1).ravel() for low, high in (WINDOW, BACKGROUND)]
    for m in run.story.measurements:
        assert m.value == pytest.approx(sums[0][m.candidate] / sums[1][m.candidate], rel=1e-12)
        assert m.std is not None


@pytest.mark.parametrize(("example", "recording"), [("bfo_iv", "bfo_iv_final.hf5"), ("beps", "BEPS_PTO_50x50.h5")])
def test_the_recorded_examples_run(recorded: Path, tmp_path: Path, example: str, recording: str) -> None:
    experiment, text = read_experiment(EXAMPLES / f"{example}.toml")
    with embedded(f"replay:{recorded / 'afm-spectral-grids' / recording}") as address, connect(address) as replayed:
        run = run_experiment(RunRequest(experiment.changed(points=12), text, "replay", tmp_path), replayed)
    assert run.ended.outcome == "finished"
    assert run.story.described.info.source == "recording"
    assert any("50 x 50 positions that were recorded" in note.text for _, note in run.story.notes)
    truth = run.seen.truth
    assert truth is not None
    assert truth.shape == (2500,)
    measured = run.story.measurements
    # A recording adds no noise: what was measured is what is there.
    np.testing.assert_allclose([m.value for m in measured], truth[[m.candidate for m in measured]], rtol=1e-12)
    assert all(m.std is None for m in measured), "the noise of a current or a response is not that of counting"
    assert "RECORDING" in run.folder.report.read_text()
    assert "came from a simulator" not in run.folder.report.read_text()


def test_spectra_and_the_image_taken_with_them_run_an_experiment_on_its_patches(recorded: Path, tmp_path: Path) -> None:
    folder = recorded / "eels-si-interface"
    asked = small(
        measure={"detector": "spectrum", "dwell_s": 0.1},
        features={"size_px": 33, "components": 4},
        target={"name": "edge", "reduction": "spectrum-window", "settings": {"window": [455.0, 475.0]}},
        stop={"points": 8},
    )
    replayed = f"replay:{folder / 'SI-EELS.dm3'}+{folder / 'SI-HAADF.dm3'}"
    with embedded(replayed) as address, connect(address) as stem:
        run = run_experiment(request(tmp_path, asked), stem)
    assert run.ended.outcome == "finished"
    assert run.seen.overview is not None
    assert run.seen.overview.data.shape == (1568, 192)
    with open_recording(folder / "SI-EELS.dm3") as recording:
        counts = recording.main.signal().data[:, :, 210:251].sum(axis=2).ravel()
    for m in run.story.measurements:
        assert m.value == pytest.approx(float(counts[m.candidate]), rel=1e-5)


def test_the_recording_that_ships_runs_the_simulators_experiment(tmp_path: Path) -> None:
    experiment, text = read_experiment(EXAMPLES / "simulator.toml")
    with embedded(f"replay:{EXAMPLES / 'recording.h5'}") as address, connect(address) as replayed:
        run = run_experiment(RunRequest(experiment.changed(points=12), text, "replay", tmp_path), replayed)
    assert run.ended.outcome == "finished"
    assert len(run.story.measurements) == 12
    assert any("40 x 40 positions that were recorded, not the 64 x 64" in note.text for _, note in run.story.notes)
    assert run.story.described.info.simulated
    assert "What was recorded came from a simulator" in run.folder.report.read_text()


def test_a_run_folder_that_exists_is_not_written_over(simulator: str, tmp_path: Path) -> None:
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    few = small(policy={"name": "random"}, features=None, stop={"points": 1})
    with connect(simulator) as stem:
        first = run_experiment(request(tmp_path, few), stem, today=lambda: then)
        before = first.folder.report.read_bytes()
        with pytest.raises(OutputExists, match="2026-01-02-030405"):
            run_experiment(request(tmp_path, few), stem, today=lambda: then)
        assert stem.state().lease is None
    assert first.folder.report.read_bytes() == before
