"""`wildrayzer masks score`: anyone's masks in the layout of DAVIS, by hand."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from wildrayzer.cli.main import app
from wildrayzer.evaluation.methods.davis_folders import means_over_sequences, score_folders

SIZE = 20


def save(folder, scene, numbers):
    """A palette picture for every frame of a scene."""
    (folder / scene).mkdir(parents=True)
    for frame, array in enumerate(numbers):
        image = Image.fromarray(array.astype(np.uint8))
        image.putpalette([0] * 768)
        image.save(folder / scene / f"{frame:05d}.png")


def square(left, number=1):
    numbers = np.zeros((SIZE, SIZE))
    numbers[4:8, left : left + 4] = number
    return numbers


@pytest.fixture
def davis(tmp_path):
    """Scenes of 2 and 1 frames, and a method that is right in the first and shifted by two columns in the second."""
    truth, ours = tmp_path / "DAVIS" / "Annotations" / "480p", tmp_path / "ours"
    two = np.where(square(4) > 0, 1, square(12, 2))
    save(truth, "bear", [square(4), two])
    save(truth, "cows", [square(4)])
    save(ours, "bear", [square(4), np.minimum(two, 1)])
    save(ours, "cows", [square(6)])
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, ["masks", "score", *map(str, words)])


def test_means_are_over_sequences_and_objects_are_united(davis):
    scores = score_folders(davis / "DAVIS", {"ours": davis / "ours"})
    assert scores["davis_j"].tolist() == pytest.approx([1, 1, 8 / 24])
    means = means_over_sequences(scores)
    # DAVIS: (1 + 1/3) / 2, whereas the mean over frames would be (1 + 1 + 1/3) / 3
    assert means.loc["ours", "davis_j"] == pytest.approx((1 + 1 / 3) / 2)
    assert means.loc["ours", ["scenes", "frames"]].tolist() == [2, 3]


def test_the_command_prints_a_table_and_writes_the_scores(davis):
    result = run(davis / "DAVIS", f"ours={davis / 'ours'}", f"theirs={davis / 'DAVIS'}", "--out", davis / "s.csv")
    assert result.exit_code == 0, result.output
    lines = [line.replace("│", " ").split() for line in result.output.splitlines()]
    assert next(line for line in lines if line[:1] == ["theirs"]) == ["theirs", *["100.0"] * 4, "2", "3"]
    assert next(line for line in lines if line[:1] == ["ours"])[2] == "66.7"
    assert len(pd.read_csv(davis / "s.csv")) == 6
    again = run(davis / "DAVIS", f"ours={davis / 'ours'}", "--out", davis / "s.csv")
    assert (again.exit_code, "--overwrite" in again.stderr) == (2, True)


def test_a_list_and_words_choose_scenes(davis):
    (davis / "DAVIS" / "ImageSets").mkdir()
    (davis / "DAVIS" / "ImageSets" / "some.txt").write_text("cows\n")
    assert set(score_folders(davis / "DAVIS", {"a": davis / "ours"}, scene_list="ImageSets/some.txt")["scene"]) == {
        "cows"
    }
    assert set(score_folders(davis / "DAVIS", {"a": davis / "ours"}, scenes=["ear"])["scene"]) == {"bear"}


def test_what_cannot_be_compared_is_refused_by_name(davis):
    (davis / "ours" / "bear" / "00001.png").unlink()
    result = run(davis / "DAVIS", f"ours={davis / 'ours'}")
    assert result.exit_code == 2
    assert "lacks 1 of 2 annotated frames, such as 00001.png" in result.stderr
    result = run(davis / "DAVIS", f"ours={davis / 'ours'}", "--scene", "cows")
    assert result.exit_code == 0
    save(davis / "small", "cows", [np.zeros((SIZE, SIZE + 2))])
    result = run(davis / "DAVIS", f"small={davis / 'small'}", "--scene", "cows")
    assert "small/cows/00000.png: 22×20, the annotation has 20×20" in result.stderr.replace("\n", "")
    for words, said in (("ours", "write NAME=FOLDER"), ("a=x", "a: x/bear lacks")):
        assert said in run(davis / "DAVIS", words).stderr
    assert "has no folder Annotations" in run(davis / "ours", "a=x").stderr
    assert "no annotated scenes with moose" in run(davis / "DAVIS", "a=x", "--scene", "moose").stderr
