"""Tables, claims and intervals from score files alone."""

import csv
import re
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.spatial.transform import Rotation

from wildrayzer.evaluation.metrics.bootstrap import (
    MIN_SCENES,
    Interval,
    _draws,
    bootstrap_mean,
    paired_difference,
    unpaired_difference,
)
from wildrayzer.evaluation.metrics.cameras import camera_r2, camera_spread, relative_motion
from wildrayzer.evaluation.tables.claims import check_claims, judge
from wildrayzer.evaluation.tables.manifests import read_healths, read_manifests
from wildrayzer.evaluation.tables.published import PUBLISHED, published_for
from wildrayzer.evaluation.tables.rows import health_tables, published_lines
from wildrayzer.evaluation.tables.scores import read_scores, write_scores
from wildrayzer.evaluation.tables.tables import TableContext, build_tables, intersect
from wildrayzer.evaluation.tables.text import PIPED_WIDTH, latex, markdown, parse_tables, print_tables, table_console
from wildrayzer.io.files import read_json, write_json
from wildrayzer.stages.write_tables import FILES, load_tables, write_tables

KINDS = {"dynamic_test": "moving", "pairs_test": "pairs", "frozen_test": "frozen", "dre10k_test": "moving"}
CONTEXT = TableContext(
    run="tiny", backbone="descriptor", perceptual="pyramid", deviations=("model.focal: learned",), kinds=KINDS,
    outside=frozenset({"dre10k_test"}), resamples=200, seed=0,
)  # fmt: skip
COMMON = {"scenes_of_split": 6, "skipped_scenes": {}, "store": "s", "digests": {}}


def view_rows(method, split="dynamic_test", shift=0.0, region="static", scenes=MIN_SCENES, inputs=2):
    rng = np.random.default_rng(len(split))
    base = {(s, f): 20 + s + rng.normal() for s in range(scenes) for f in range(3)}
    noise = np.random.default_rng(sum(map(ord, method)))
    return [
        (method, split, inputs, f"s{s}", f, region, "psnr", value + shift + 0.1 * noise.normal())
        for (s, f), value in base.items()
    ]


def write_job(folder, rows, kind="views", **extra):
    method, split, inputs = rows[0][:3]
    name = f"{method.replace(':', '-')}_{split}_{inputs}"
    about = {"kind": kind, "method": method, "split": split, "inputs": inputs, **COMMON}
    lpips = {"lpips": "left out: no weights"} if kind == "views" else {}
    definitions = {"definitions": {"psnr": "dB", "iou": "per frame"}, "regions": {"static": "no transient"}}
    write_scores(rows, folder / f"{name}.csv", folder / f"{name}.json", {**about, **lpips, **definitions, **extra})
    return folder / f"{name}.csv", folder / f"{name}.json"


def test_a_scene_may_have_the_name_of_a_missing_value(tmp_path):
    rows = [("static", "dynamic_test", 2, scene, 0, "static", "psnr", 20.0) for scene in ("NA", "null", "room")]
    rows.append(("static", "dynamic_test", 2, "room", 1, "static", "psnr", float("nan")))
    scores = read_scores([write_job(tmp_path, rows)[0]])
    assert sorted(scores["scene"]) == ["NA", "null", "room", "room"]
    assert scores["value"].isna().sum() == 1


HOSTILE = ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "'=1", "''+1", "'quoted'", '"a", "b"', "a=1"]


def test_a_scene_named_like_a_formula_is_text_to_spreadsheets_and_keeps_its_name(tmp_path):
    rows = [("static", "dynamic_test", 2, scene, 0, "static", "psnr", -1.0) for scene in HOSTILE]
    file, _ = write_job(tmp_path, rows)
    assert sorted(read_scores([file])["scene"]) == sorted(HOSTILE)
    with file.open(encoding="utf-8", newline="") as stream:
        cells = [row["scene"] for row in csv.DictReader(stream)]
    assert not [cell for cell in cells if cell[0] in "=+-@\t"]
    assert {"'quoted'", '"a", "b"', "a=1"} <= set(cells), "what is no formula is written as it is"
    assert "'=cmd|" in file.read_text(encoding="utf-8")


ODD = ["a\rb", "a\r\nb", "a\nb", "\r=1", "a\x1b[2Jb", "a\x00b", "a\u2028b", " a ", "\ufeffa", "a\x85b", "a\x0cb"]


def test_control_characters_in_names_of_scenes_end_no_line(tmp_path):
    rows = [("static", "dynamic_test", 2, scene, 0, "static", "psnr", 20.0) for scene in ODD]
    assert sorted(read_scores([write_job(tmp_path, rows)[0]])["scene"]) == sorted(ODD)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: lines[:8], "was truncated or changed after it was scored (7 of 12 rows)"),
        (lambda lines: [*lines[:-1], lines[-1].replace("20", "21")], "(its values or names)"),
        (lambda lines: [*lines[:-1], lines[-1].replace("room", "hall")], "(its values or names)"),
    ],
)
def test_scores_that_changed_since_are_refused_by_name(tmp_path, damage, said):
    rows = [("static", "dynamic_test", 2, "room", frame, "static", "psnr", 20.0) for frame in range(12)]
    scores, manifest = write_job(tmp_path, rows)
    assert read_manifests([manifest])[0]["counts"]["rows"] == len(read_scores([scores])) == 12
    lines = scores.read_text(encoding="utf-8").splitlines(keepends=True)
    scores.write_text("".join(damage(lines)), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{scores} {said}" if said.startswith("was") else said)) as error:
        read_scores([scores])
    assert "delete it and run the benchmark stage again" in str(error.value)


def test_scores_of_earlier_versions_are_read_unchecked_and_the_log_says_so(tmp_path, caplog):
    rows = view_rows("static")
    checked, _ = write_job(tmp_path, rows)
    read_scores([checked])
    assert not caplog.messages
    older, manifest = write_job(tmp_path, view_rows("joint"))
    write_json(manifest, {name: value for name, value in read_json(manifest).items() if name != "scores_digest"})
    assert len(read_scores([checked, older])) == 2 * len(rows)
    assert caplog.messages == [
        f"1 score files have no digest in a manifest beside them and are read unchecked, such as {older}"
    ]


def mask_rows(method, split, iou, coverage, recall=0.5, *, inputs=2, scenes=MIN_SCENES):
    return [
        (method, split, inputs, f"s{s}", f, "mask", metric, value + 0.001 * s)
        for s in range(scenes)
        for f in range(3)
        for metric, value in (("iou", iou), ("coverage", coverage), ("recall", recall))
    ]


def test_j_and_f_have_a_table_of_their_own_beside_the_mask_table(tmp_path):
    rows = mask_rows("refined:renderer", "dynamic_test", 0.5, 0.2)
    davis = [(*row[:6], f"davis_{name}", value) for row in rows if row[6] == "iou"
             for name, value in (("j", 0.25), ("f", 0.75), ("jf", 0.5))]  # fmt: skip
    scores, manifest = write_job(tmp_path, rows + davis, kind="masks")
    text = markdown(load_tables([scores], [manifest], [], CONTEXT))
    assert "| inputs | method | IoU, % ↑ | recall, % ↑ | coverage, % | scenes | frames | skipped |" in text
    assert "## Masks on dynamic_test as DAVIS scores them." in text
    assert "| inputs | method | J&F, % ↑ | J, % ↑ | F, % ↑ | scenes | frames | skipped |" in text
    assert f"| 2 | refined:renderer | 50.0 ± 0.0 | 25.0 ± 0.0 | 75.0 ± 0.0 | {MIN_SCENES} |" in text
    assert [table.columns[2] for table in parse_tables(text)[:2]] == ["IoU, % ↑", "J&F, % ↑"]
    scores, manifest = write_job(tmp_path, rows, kind="masks")
    assert "DAVIS" not in markdown(load_tables([scores], [manifest], [], CONTEXT)), "scores of an earlier version"


def health_file(folder):
    from wildrayzer.io.files import write_json

    figure = {"mean": -0.01, "low": -0.05, "high": 0.02, "error": 0.01, "scenes": 30, "frames": 90, "skipped": 0}
    write_json(folder / "health.json", {
        "schema": 1, "kind": "health", "split": "dynamic_test", "inputs": 2, "windows": 30, "camera_spread": 0.12,
        "camera_r2": {"tx": 0.4, "shift": 0.87}, "pose_accuracy": {"rpa_5": 0.125, "auc_20": 0.5},
        "figures": {"psnr": {**figure, "mean": 25.0}, "reordered": figure, "swapped": {**figure, "mean": -5.0}},
        "definitions": dict.fromkeys(("psnr", "reordered", "swapped"), "text"),
    })  # fmt: skip
    return folder / "health.json"


@pytest.fixture
def job_files(tmp_path):
    nan = [("joint", "pairs_test", 2, "s0", 9, "ghost", "psnr", np.nan)]
    jobs = [
        write_job(tmp_path, view_rows("static")),
        write_job(tmp_path, view_rows("joint", shift=1.0)),
        write_job(tmp_path, [*view_rows("static", "pairs_test", region="ghost"), ("static", *nan[0][1:])]),
        write_job(tmp_path, view_rows("joint", "pairs_test", shift=-1.0, region="ghost") + nan),
        write_job(tmp_path, view_rows("joint", "dre10k_test"), forced=True),
        write_job(tmp_path, mask_rows("pseudo:renderer", "dynamic_test", 0.5, 0.2), kind="masks"),
        write_job(tmp_path, mask_rows("residual:renderer", "dynamic_test", 0.3, 0.2), kind="masks"),
        write_job(tmp_path, mask_rows("pseudo:renderer", "frozen_test", 0.1, 0.05, 0.6), kind="masks"),
    ]
    return [job[0] for job in jobs], [job[1] for job in jobs], [health_file(tmp_path)]


def test_files_are_complete_and_byte_identical(job_files, tmp_path):
    for name in ("first", "second"):
        scores, manifests, healths = job_files
        order = slice(None, None, 1 if name == "first" else -1)
        write_tables(load_tables(scores[order], manifests[order], healths, CONTEXT), tmp_path / name)
    for file in FILES:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    text = (tmp_path / "first" / "tables.md").read_text()
    assert "Feature backbone: descriptor." in text
    assert "Differs from the paper: model.focal: learned." in text
    assert "LPIPS left out: no weights." in text
    assert "| 2 | WildRayZer (published, WildRayZer) | 21.78 |" in text
    assert "joint†" in text
    assert "ghost region, 2 inputs: 1 frames skipped" in text
    assert text.count("(published") == 4  # beside the outside set alone, in its two tables
    assert "| WildRayZer (published, WildRayZer) | 21.78 |" in text
    assert "2 views PSNRˢ ↑" in text


def test_means_of_the_summary_are_those_of_the_scores(job_files):
    tables = load_tables(*job_files, CONTEXT)
    row = tables.summary.set_index(["split", "method"]).loc[("dynamic_test", "joint")]
    expected = np.mean([r[-1] for r in view_rows("joint", shift=1.0)])
    assert row["mean"] == pytest.approx(expected, abs=1e-4)
    assert row["low"] < row["mean"] < row["high"]
    assert (row["scenes"], row["frames"], row["skipped"]) == (MIN_SCENES, 3 * MIN_SCENES, 0)


def test_claims_get_the_verdict_of_their_interval(job_files):
    findings = load_tables(*job_files, CONTEXT).findings

    def verdict(start, where):
        return next(f.verdict for f in findings if f.compared.startswith(start) and f.where.startswith(where))

    assert verdict("joint − static", "dynamic_test") == "holds"
    assert verdict("joint − static, ghost", "pairs_test") == "does not hold"
    assert verdict("joint − static, static", "pairs_test") == "not scored"
    assert verdict("joint − unmasked", "dynamic_test") == "not scored"
    assert verdict("pseudo:renderer − residual:renderer", "dynamic_test") == "holds"
    assert verdict("pseudo:renderer, coverage", "dynamic_test against frozen_test") == "holds"
    assert verdict("pseudo:renderer, recall", "dynamic_test against frozen_test") == "does not hold"
    assert verdict("shift", "dynamic_test") == "holds"
    assert verdict("re-ordered − in order", "dynamic_test") == "holds"


def test_few_scenes_decide_nothing_and_the_reason_is_given():
    few = MIN_SCENES - 1
    rows = view_rows("static", scenes=few), view_rows("joint", shift=1.0, scenes=few)
    health = {
        "split": "static_test", "inputs": 2, "windows": few, "camera_r2": {"shift": 0.9},
        "figures": {"reordered": vars(Interval(0.0, -0.01, 0.01, 0.01, few, 60, 0))},
    }  # fmt: skip
    findings = [f for f in check_claims(scores_of(*rows), KINDS, [health], resamples=100, seed=0)
                if f.verdict != "not scored"]  # fmt: skip
    assert len(findings) == 3
    assert {finding.verdict for finding in findings} == {"undecided"}
    assert findings[0].difference.low > 0.9, "the interval is shown all the same"
    for finding in findings:
        assert f"{few} scenes, {MIN_SCENES} are needed for a verdict" in finding.note


def test_one_scene_has_a_mean_and_no_interval():
    rows = view_rows("static", scenes=1), view_rows("joint", shift=1.0, scenes=1)
    tables = build_tables(scores_of(*rows), [], [], CONTEXT)
    summary = tables.summary.set_index("method")
    assert summary.loc["joint", ["low", "high", "error"]].isna().all()
    assert np.isfinite(summary.loc["joint", "mean"])
    text = markdown(tables)
    assert "nan" not in text
    assert "± 0.00" not in text
    claims = next(table for table in tables.tables if table.name == "claims")
    (row,) = (row for row in claims.rows if row[4] == "undecided")
    assert re.fullmatch(r"\d\.\d\d", row[3])


def test_verdicts_without_a_difference_are_false_in_a_tenth_of_the_cases_at_most():
    """A part of the simulation behind `MIN_SCENES`, on the distribution that was worst."""
    rng = np.random.default_rng(0)

    def false_verdicts(scenes):
        found = []
        for seed in range(10):
            values = rng.exponential(size=(scenes, 500)) - 1
            low, high = np.quantile(_draws(scenes, 500, seed) @ values / scenes, [0.025, 0.975], axis=0)
            found += [(low > 0) | (high < 0)]
        return np.mean(found)

    assert false_verdicts(MIN_SCENES) < 0.11
    assert false_verdicts(5) > 0.18
    assert false_verdicts(2) > 0.4


def test_frozen_clips_are_compared_by_number_of_inputs():
    """Pooled, 2 inputs on one side and 3 on the other would speak for the claim, where neither number does."""
    scores = scores_of(
        mask_rows("head:joint", "dynamic_test", 0.5, 0.2), mask_rows("head:joint", "dynamic_test", 0.5, 0.8, inputs=3),
        mask_rows("head:joint", "frozen_test", 0.5, 0.25), mask_rows("pseudo:renderer", "frozen_test", 0.5, 0.25),
    )  # fmt: skip
    found = {
        (finding.compared.partition(",")[0], finding.where): (finding.verdict, finding.note)
        for finding in check_claims(scores, KINDS, resamples=100, seed=0)
        if "coverage of dynamic_test" in finding.compared
    }
    assert found == {
        ("head:joint", "dynamic_test against frozen_test, 2 inputs"): ("does not hold", ""),
        ("head:joint", "dynamic_test against frozen_test, 3 inputs"):
            ("not scored", "head:joint has no scores on one of the two"),
        ("pseudo:renderer", "dynamic_test against frozen_test, 2 inputs"):
            ("not scored", "pseudo:renderer has no scores on one of the two"),
    }  # fmt: skip


def test_controls_and_partly_scored_ablations_make_no_claim_about_standing_actors():
    both = ["head:distill", "head:distill@published_head", "pseudo:nearest", "pseudo:blurred"]
    rows = [mask_rows(method, split, 0.5, 0.2) for method in both for split in ("dynamic_test", "frozen_test")]
    scores = scores_of(*rows, mask_rows("head:distill@paste_only", "dynamic_test", 0.5, 0.2))
    compared = [one.compared for one in check_claims(scores, KINDS, resamples=100, seed=0)]
    assert {name.partition(",")[0] for name in compared if "recall of" in name} == set(both[:2])


def test_the_head_is_compared_with_the_published_one_where_both_are_scored():
    scores = scores_of(
        mask_rows("head:distill", "dynamic_test", 0.4, 0.2),
        mask_rows("head:distill@published_head", "dynamic_test", 0.3, 0.2),
    )
    found = {
        one.compared: (one.verdict, round(one.difference.mean, 6))
        for one in check_claims(scores, KINDS, resamples=100, seed=0)
        if "published_head, mask iou" in one.compared
    }
    assert found == {"head:distill − head:distill@published_head, mask iou": ("holds", 0.1)}


def test_terminal_and_latex(job_files):
    tables = load_tables(*job_files, CONTEXT)
    console = Console(file=StringIO(), width=240)
    print_tables(tables, console)
    shown = console.file.getvalue()
    assert "does not hold" in shown
    assert "joint†" in shown
    assert "[" in shown
    text = latex(tables)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(tables.tables)
    assert r"dynamic\_test" in text
    assert not set("†²ˢΣσ−–↑↓") & set(text)
    assert markdown(tables).isprintable() is False  # has line breaks, and ends with one
    assert markdown(tables).endswith("\n")


def test_tables_in_a_pipe_are_wide_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr("sys.stdout", StringIO())  # also where pytest itself writes to a terminal
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert table_console().width == PIPED_WIDTH
    monkeypatch.setenv("COLUMNS", "60")
    assert table_console().width == 60


def scores_of(*rows):
    return pd.DataFrame(
        [row for part in rows for row in part],
        columns=["method", "split", "inputs", "scene", "frame", "region", "metric", "value"],
    )


def test_methods_on_different_scenes_are_intersected_and_said_so(job_files):
    scores = scores_of(view_rows("static", scenes=5), view_rows("joint", scenes=3))
    common, dropped = intersect(scores)
    assert set(common[common["method"] == "static"]["scene"]) == {"s0", "s1", "s2"}
    (sentence,) = dropped.values()
    assert "joint lacks 2 scenes" in sentence
    assert "9 of 15 frames" in sentence
    tables = build_tables(scores, read_manifests(job_files[1]), [], CONTEXT)
    assert any("joint lacks 2 scenes" in note for note in tables.tables[0].notes)
    finding = next(f for f in tables.findings if f.verdict != "not scored")
    assert finding.difference.scenes == 3
    assert finding.note == "3 scenes, 20 are needed for a verdict; 2 scenes scored on one side alone are left out"


def test_methods_without_a_scene_in_common_are_refused():
    apart = [row for row in view_rows("theirs") if row[3] in ("s3", "s4")]
    with pytest.raises(ValueError, match=re.escape(
        "dynamic_test, 2 inputs: no frame was scored with every method (static 3 scenes, theirs 2 scenes); score them"
    )):  # fmt: skip
        build_tables(scores_of(view_rows("static", scenes=3), apart), [], [], CONTEXT)


def test_scenes_without_a_window_and_pictures_equal_to_their_truth_are_counted_and_said_so(tmp_path):
    rows = view_rows("joint", scenes=5)
    rows[0] = (*rows[0][:-1], np.inf)
    files = write_job(tmp_path, rows, scenes_of_split=9, skipped_scenes={"s5": "4 frames, 6 are needed"})
    detailed = load_tables(files[:1], files[1:], [], CONTEXT).tables[1]
    assert "1 of the split's 9 scenes have no evaluation window." in detailed.notes
    assert (
        "static region, 2 inputs: 1 frames skipped (nothing there to score, or a picture equal to its truth)."
        in detailed.notes
    )
    assert detailed.rows[0][-3:] == ("5", "14", "1")


def test_motion_heads_do_not_shrink_the_frames_of_cached_masks():
    head = [("head:joint", *row[1:]) for row in mask_rows("x", "dynamic_test", 0.4, 0.1)[:4]]
    common, dropped = intersect(scores_of(mask_rows("pseudo:renderer", "dynamic_test", 0.5, 0.2, scenes=5), head))
    assert len(common) == 45 + 4
    assert dropped == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "columns are ['a', 'b'], expected ['method'"),
        ("", "not a score file"),
        ("method,split,inputs,scene,frame,region,metric,value\nj,d,2,s,0,static,psnr,high\n", "value = 'high' is no"),
        ("method,split,inputs,scene,frame,region,metric,value\nj,d,two,s,0,static,psnr,1\n", "inputs = 'two' is no"),
        (f"method,split,inputs,scene,frame,region,metric,value\nj,d,2,s,{'9' * 400},static,psnr,1\n", "too large"),
        (
            "method,split,inputs,scene,frame,region,metric,value\nj,d,2,s,0,static,psnr,1\nj,d,2,s,0,static,psnr,2\n",
            "holds a score twice; delete it",
        ),
    ],
)
def test_bad_score_files_are_named(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_scores([tmp_path / "bad.csv"])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.csv: no such score file"):
        read_scores([tmp_path / "absent.csv"])
    with pytest.raises(ValueError, match="no score files were given"):
        read_scores([])
    with pytest.raises(ValueError, match=r"absent\.json: no such manifest"):
        read_manifests([tmp_path / "absent.json"])
    (tmp_path / "old.json").write_text("{}")
    with pytest.raises(ValueError, match="not a score manifest of schema 1"):
        read_manifests([tmp_path / "old.json"])


def test_scores_of_another_run_or_without_a_value_are_refused():
    with pytest.raises(ValueError, match=r"splits \['elsewhere'\], which this run does not test"):
        build_tables(scores_of(view_rows("joint", "elsewhere")), [], [], CONTEXT)
    empty = scores_of(view_rows("joint")).assign(value=np.nan)
    with pytest.raises(ValueError, match="all scores are NaN"):
        build_tables(empty, [], [], CONTEXT)


def test_scores_survive_the_file(tmp_path):
    rows = [("joint", "d", 2, "007", 1, "static", "psnr", 1 / 3), ("joint", "d", 2, "007", 0, "static", "psnr", np.nan)]
    about = {"kind": "views", "method": "joint", "split": "d", "inputs": 2, **COMMON}
    write_scores(rows, tmp_path / "s.csv", tmp_path / "s.json", about)
    table = read_scores([tmp_path / "s.csv"])
    assert table["scene"].tolist() == ["007", "007"]
    np.testing.assert_allclose(table["value"], [np.nan, 1 / 3], atol=1e-6)
    assert read_manifests([tmp_path / "s.json"])[0]["counts"]["nan"] == {"static/psnr": 1}


def test_bootstrap_by_hand():
    values, scenes = pd.Series([1.0, 3.0, np.nan, 8.0, np.inf]), pd.Series(["a", "a", "a", "b", "b"])
    interval = bootstrap_mean(values, scenes, resamples=500, seed=1)
    assert interval.mean == pytest.approx(4)
    assert (interval.scenes, interval.frames, interval.skipped) == (2, 3, 2)
    assert (interval.low, interval.high) == (2, 8)  # both draws of one scene happen in a quarter of the cases each
    assert interval == bootstrap_mean(values, scenes, resamples=500, seed=1)
    nothing = bootstrap_mean(values * np.nan, scenes, resamples=100, seed=1)
    assert np.isnan(nothing.mean)
    assert nothing.skipped == 5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), constant=st.floats(-5, 5))
def test_paired_difference_of_a_constant_has_no_width(seed, constant):
    rng = np.random.default_rng(seed)
    first = pd.DataFrame({"scene": ["a", "a", "b", "c"], "frame": [0, 1, 0, 0], "value": rng.normal(size=4)})
    second = first.assign(value=first["value"] - constant).sample(frac=1, random_state=seed)
    difference = paired_difference(first, second.iloc[:3], resamples=50, seed=0)
    assert difference.low == pytest.approx(constant, abs=1e-9)
    assert difference.high == pytest.approx(constant, abs=1e-9)
    assert difference.frames == 3


def test_unpaired_difference():
    first = pd.DataFrame({"scene": ["a", "b"], "value": [1.0, 1.0]})
    second = pd.DataFrame({"scene": ["c", "d", "e"], "value": [0.25, 0.25, 0.25]})
    assert unpaired_difference(first, second, resamples=50, seed=0).low == pytest.approx(0.75)
    assert unpaired_difference(first, second[:0], resamples=50, seed=0).scenes == 0


@pytest.mark.parametrize(
    ("low", "high", "scenes", "verdict"),
    [(0.1, 1, 20, "holds"), (-1, -0.1, 20, "does not hold"), (-1, 1, 20, "undecided"), (0.1, 1, 19, "undecided")],
)
def test_verdicts(low, high, scenes, verdict):
    assert judge(Interval(0.0, float(low), float(high), 0.1, scenes, 10, 0)) == verdict


def test_without_scores_no_claim_holds():
    findings = check_claims(scores_of([]), KINDS, resamples=50, seed=0)
    assert findings
    assert {finding.verdict for finding in findings} == {"not scored"}


def test_published_figures_show_beside_their_own_set_alone():
    for name in ("dre10k_iphone", "iphone_test"):
        assert {f.data for f in published_for(name, inputs=2)} == {"D-RE10K-iPhone"}
    assert {f.value for f in published_for("D-RE10K-test", inputs=4)} == {22.38, 20.73}
    assert published_for("dynamic_test", inputs=2) == []
    assert published_for("dre10k", inputs=3) == []
    of_five = {f.value for f in published_for("re10k_test", inputs=5) if f.metric == "psnr"}
    assert of_five == {25.80, 25.88, 24.30, 26.32}
    assert len({f.method for f in published_for("dl3dv_even", inputs=16)}) == 6
    of_two = {f.method: f.value for f in published_for("re10k_index", inputs=2) if f.metric == "psnr"}
    assert of_two == {"LVSM, decoder-only": 29.67, "LVSM, encoder-decoder": 28.60, "Efficient-LVSM": 29.86}
    for split, counts in (("re10k_test", (3, 4, 16)), ("dl3dv_test", (2, 5, 8))):
        assert all(published_for(split, inputs=count) == [] for count in counts)
    assert [f.value for f in published_for("dre10k", masks=True)] == [0.182, 0.539, 0.539]
    assert len(PUBLISHED) == len(set(PUBLISHED))


def test_withdrawn_figures_are_marked_beside_the_corrected_ones():
    own = [one for one in published_for("dl3dv_test", inputs=16) if one.method == "RayZer, reproduced"]
    lines = published_lines(own, [("full", "psnr"), ("full", "lpips")], lambda one: (one.region, one.metric))
    assert lines == [
        ("RayZer, reproduced (published, Open-RayZer, January 2026)", "22.14", "0.289"),
        ("RayZer, reproduced (published, Open-RayZer, September 2025; withdrawn)", "20.84", "0.354"),
    ]


def poses(rng, scenes=40, views=4):
    c2w = np.tile(np.eye(4), (scenes, views, 1, 1))
    yaw = rng.uniform(-0.3, 0.3, (scenes, views))
    turns = Rotation.from_rotvec(np.stack([0 * yaw, yaw, 0 * yaw], -1).reshape(-1, 3)).as_matrix()
    c2w[..., :3, :3] = turns.reshape(scenes, views, 3, 3)
    c2w[..., 0, 3] = rng.uniform(-1, 1, (scenes, views))
    return c2w


def test_camera_r2_is_blind_to_world_frame_and_scale():
    true = poses(np.random.default_rng(0))
    predicted = true.copy()
    predicted[..., :3, 3] *= 0.37
    world = np.eye(4)
    world[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_matrix()
    world[:3, 3] = 5, 6, 7
    r2 = camera_r2(world @ predicted, true)
    assert set(r2) == {"tx", "tz", "ry", "shift"}  # a turned first camera sees its neighbour's slide along z too
    assert min(r2.values()) > 0.999


def test_camera_r2_of_cameras_without_content():
    rng = np.random.default_rng(1)
    true = poses(rng)
    same = np.tile(poses(rng, scenes=1), (40, 1, 1, 1))
    assert max(camera_r2(same, true).values()) < 0.2
    assert max(camera_r2(poses(rng), true).values()) < 0.2
    assert camera_spread(np.tile(np.eye(4), (5, 3, 1, 1))) == 0
    assert camera_spread(true) > 0.1


def test_camera_r2_sees_the_shift_behind_confused_slide_and_pan():
    rng = np.random.default_rng(2)
    true = poses(rng, scenes=100)
    motion = relative_motion(true)
    predicted = np.tile(np.eye(4), (100, 4, 1, 1))
    predicted[:, 1:, 0, 3] = motion[..., 0] / 3 + motion[..., 4]
    r2 = camera_r2(predicted, true)
    assert r2["shift"] > 0.999
    assert r2["tx"] < 0.95
    assert r2["ry"] < 0.95


def test_relative_motion_by_hand():
    c2w = np.tile(np.eye(4), (1, 2, 1, 1))
    turn = Rotation.from_rotvec([0, np.pi / 2, 0]).as_matrix()
    c2w[0, :, :3, :3] = turn
    c2w[0, 1, :3, 3] = 1, 0, 0
    # the first camera looks along +x, so a step along x is a step forward
    np.testing.assert_allclose(relative_motion(c2w)[0, 0], [0, 0, 1, 0, 0, 0], atol=1e-12)
    with pytest.raises(ValueError, match="at least 2 scenes"):
        camera_r2(c2w, c2w)


def test_table_of_the_renderer_has_pose_accuracy_where_it_was_measured():
    figure = {"mean": 1.0, "low": 0.0, "high": 2.0, "error": 0.1, "scenes": 30, "frames": 90, "skipped": 0}
    new = {
        "split": "a", "inputs": 2, "windows": 30, "camera_spread": 0.1, "camera_r2": None,
        "pose_accuracy": {"rpa_5": 0.125, "auc_20": 0.5},
        "figures": {"psnr": figure, "reordered": figure, "swapped": figure},
    }  # fmt: skip
    old = {**new, "split": "b"}
    del old["pose_accuracy"]
    (table,) = health_tables([new, old])
    places = [table.columns.index(name) for name in ("RPA@5", "AUC@20")]
    assert [[row[place] for place in places] for row in table.rows] == [["12.5", "50.0"], ["–", "–"]]
    assert any("RPA@τ" in note for note in table.notes)
    (table,) = health_tables([old])
    assert not any("RPA" in text for text in (*table.columns, *table.notes))


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("manifest", lambda about: about.pop("method"), "method: Field required"),
        ("manifest", lambda about: about["counts"].update(nan=[1]), "counts.nan: Input should be a valid dictionary"),
        ("manifest", lambda about: about.update(digests="x"), "digests: Input should be a valid dictionary"),
        ("health", lambda about: about["figures"].update(psnr=3), "figures.psnr: "),
        (
            "health",
            lambda about: about.update(camera_r2={"tx": "much"}),
            "camera_r2.tx: Input should be a valid number",
        ),
        ("health", lambda about: about["definitions"].pop("swapped"), "figures or definitions lack swapped"),
        ("health", lambda about: about["figures"].pop("reordered"), "figures or definitions lack reordered"),
    ],
)
def test_renamed_and_retyped_fields_of_manifests_are_named(tmp_path, name, change, fault):
    rows = [("static", "dynamic_test", 2, "room", 0, "static", "psnr", 20.0)]
    file = write_job(tmp_path, rows)[1] if name == "manifest" else health_file(tmp_path)
    read = read_manifests if name == "manifest" else read_healths
    about = read_json(file)
    change(about)
    write_json(file, about)
    with pytest.raises(ValueError, match=re.escape(f"{file} is damaged or of another version ({fault}")):
        read([file])
