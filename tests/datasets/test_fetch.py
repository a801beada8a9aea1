"""From the table to the places: all or nothing, nothing fetched twice, nothing of the user's touched."""

import hashlib
import io
import json
import threading
import zipfile

import pytest
from PIL import Image

from tests.helpers.dataset_server import breaking_off, running_server, saying, whole
from tests.helpers.processes import LONG
from wildrayzer.datasets.download import DownloadError, Patience
from wildrayzer.datasets.fetch import fetch_source, link_part
from wildrayzer.datasets.on_disk import fits, locate, look_through, scene_names
from wildrayzer.datasets.table import Part, SourceTable, load_table

PATIENCE = Patience(sleep=lambda seconds: None, tries=2)


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return stream.getvalue()


SET = packed(
    {"set/train/000000.torch": b"chunk", "set/train/index.json": b'{"a": "000000.torch"}', "set/test/0.torch": b"t"}
)
MORE = packed({"more/full_list.txt": b"metadata/a.json\n"})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_server() as running:
        running.files = {"/set.zip": SET, "/more.zip": MORE, "/weights.bin": b"weights"}
        yield running


@pytest.fixture
def table(server) -> SourceTable:
    def file(name: str, body: bytes, **facts) -> dict:
        return {"name": name, "mirrors": [f"{server.address}/{name}"], "md5": hashlib.md5(body).hexdigest(), **facts}

    common = {"title": "A set", "home": "https://example.org/set"}
    return SourceTable.model_validate(
        {
            "sources": {
                "set": {
                    **common,
                    "version": "v3",
                    "folder": "resources/data/set",
                    "files": [file("set.zip", SET, archive=True), file("more.zip", MORE, archive=True)],
                    "parts": {
                        "train": {"layout": "pixelsplat", "find": ["train", "*/train"]},
                        "test": {"layout": "pixelsplat", "find": ["*/test"]},
                        "more": {"layout": "lvsm"},
                    },
                },
                "weights": {
                    **common,
                    "folder": "resources/weights",
                    "files": [file("weights.bin", b"weights")],
                    "parts": {"weights.bin": {"layout": "file"}},
                },
                "own": {
                    **common,
                    "folder": "resources/data/own",
                    "provide": "ask its authors",
                    "parts": {"train": {"layout": "lvsm"}},
                },
            }
        }
    )


def test_parts_end_in_their_places_and_nothing_else_is_left(table, tmp_path):
    filled = fetch_source(table, "set", root=tmp_path, patience=PATIENCE)
    data = tmp_path / "resources/data/set"
    assert filled == [data / "train", data / "test", data / "more"]
    assert {path.name for path in data.iterdir()} == {".fetching", "train", "test", "more"}
    assert [path.name for path in (data / ".fetching").iterdir()] == [".set.lock"]
    assert (data / "train/000000.torch").read_bytes() == b"chunk"
    manifest = json.loads((data / "train/source.json").read_text())
    assert (manifest["source"], manifest["version"]) == ("set", "v3")
    assert manifest["files"][0]["md5"] == hashlib.md5(SET).hexdigest()


def test_a_part_that_is_there_is_left_alone(table, server, tmp_path):
    mine = tmp_path / "resources/data/set/train"
    mine.mkdir(parents=True)
    (mine / "mine.torch").write_bytes(b"mine")
    fetch_source(table, "set", root=tmp_path, patience=PATIENCE)
    assert [path.name for path in mine.iterdir()] == ["mine.torch"]
    asked = len(server.requests)
    assert fetch_source(table, "set", root=tmp_path, patience=PATIENCE) == []
    assert len(server.requests) == asked


def test_a_source_that_is_downloaded_for_one_part_fills_the_places_of_all(table, server, tmp_path):
    data = tmp_path / "resources/data/set"
    (data / "more").mkdir(parents=True)
    filled = fetch_source(table, "set", parts=["test"], root=tmp_path, patience=PATIENCE)
    assert filled == [data / "test", data / "train"], "more was there"
    asked = len(server.requests)
    assert fetch_source(table, "set", parts=["train"], root=tmp_path, patience=PATIENCE) == []
    assert len(server.requests) == asked


def test_a_part_that_nobody_asked_for_may_be_missing_in_a_download(table, tmp_path):
    changed = table.sources["set"].model_dump()
    changed["parts"]["val"] = {"layout": "pixelsplat"}
    less = SourceTable.model_validate({"sources": {"set": changed}})
    assert len(fetch_source(less, "set", parts=["test"], root=tmp_path, patience=PATIENCE)) == 3
    with pytest.raises(ValueError, match=r"val: val in .* is not a folder with \*\.torch chunks"):
        fetch_source(less, "set", parts=["val"], root=tmp_path, patience=PATIENCE)


def test_a_place_filled_meanwhile_is_left_alone(table, server, tmp_path):
    mine = tmp_path / "resources/weights/weights.bin"

    def meanwhile(handler, body):
        mine.write_bytes(b"mine")
        whole(handler, body)

    server.plan("/weights.bin", meanwhile)
    assert fetch_source(table, "weights", root=tmp_path, patience=PATIENCE) == []
    assert mine.read_bytes() == b"mine"


def test_parts_in_place_are_read_where_nothing_can_be_written(table, tmp_path):
    data = tmp_path / "resources/data/set"
    (data / "test").mkdir(parents=True)
    assert fetch_source(table, "set", parts=["test"], root=tmp_path) == []
    assert [path.name for path in data.iterdir()] == ["test"], "neither lock nor work folder"


@pytest.mark.parametrize("link", ["resources/data/set/more", "resources/data/set", "resources/data", "resources"])
def test_a_disk_that_is_not_mounted_is_no_reason_to_fetch(table, server, tmp_path, link):
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=rf"{link} is a link to .*gone, which is not there: is the disk mounted\?"):
        fetch_source(table, "set", parts=["test"], root=tmp_path, patience=PATIENCE)
    assert server.requests == []


def test_a_link_leads_to_the_part_wherever_the_folders_really_are(table, tmp_path):
    for folder in ("disk/data", "other/deep/scratch", "run"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run/resources").mkdir()
    (tmp_path / "run/resources/data").symlink_to(tmp_path / "disk/data")
    (tmp_path / "run/results").symlink_to(tmp_path / "other/deep/scratch")
    place, link = tmp_path / "run/resources/data/own/train", tmp_path / "run/results/paper/sources/own/train"
    with pytest.raises(ValueError, match="own/train does not exist: mend it, or move it away"):
        link_part(table, "own", "train", link, root=tmp_path / "run")
    place.mkdir(parents=True)
    (place / "full_list.txt").touch()
    link.parent.mkdir(parents=True)
    link.symlink_to("nowhere")  # a broken one of an earlier run
    link_part(table, "own", "train", link, root=tmp_path / "run")
    assert link.samefile(place)
    assert not link.readlink().is_absolute()


def test_a_file_goes_to_its_place(table, tmp_path):
    assert fetch_source(table, "weights", root=tmp_path, patience=PATIENCE) == [
        tmp_path / "resources/weights/weights.bin"
    ]
    assert (tmp_path / "resources/weights/weights.bin").read_bytes() == b"weights"


def test_a_failed_fetch_fills_no_place_and_the_next_one_goes_on(table, server, tmp_path):
    server.plan("/more.zip", breaking_off(20), saying(404))
    with pytest.raises(DownloadError, match="answers 404"):
        fetch_source(table, "set", root=tmp_path, patience=PATIENCE)
    data = tmp_path / "resources/data/set"
    assert {path.name for path in data.iterdir()} == {".fetching"}
    fetch_source(table, "set", root=tmp_path, patience=PATIENCE)
    assert len(server.ranges("/set.zip")) == 1, "what had arrived is not fetched again"
    assert server.ranges("/more.zip") == [None, "bytes=20-", "bytes=20-"]
    assert fits(data / "more", "lvsm")


def test_two_fetches_at_once_make_one(table, server, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(handler, body):
        begun.set()
        go_on.wait(LONG)
        whole(handler, body)

    server.plan("/set.zip", slowly)
    filled = []

    def run():
        filled.append(fetch_source(table, "set", root=tmp_path, patience=PATIENCE))

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert begun.wait(LONG)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(LONG)
    assert sorted(map(len, filled)) == [0, 3], "the second found everything in its place"
    assert [len(server.ranges(path)) for path in ("/set.zip", "/more.zip")] == [1, 1]


def test_what_cannot_be_downloaded_says_how_to_come_by_it(table, tmp_path):
    with pytest.raises(ValueError, match=r"ask its authors\. Put it at resources/data/own/train, or set the path"):
        fetch_source(table, "own", root=tmp_path)


def test_unknown_names_are_told(table, tmp_path):
    with pytest.raises(ValueError, match="no source is named 'sett'; known: set, weights, own"):
        fetch_source(table, "sett", root=tmp_path)
    with pytest.raises(ValueError, match="source set has no part 'val'; known: train, test, more"):
        fetch_source(table, "set", parts=["val"], root=tmp_path)


def test_a_download_laid_out_in_another_way_says_what_it_holds(table, server, tmp_path):
    other = SourceTable.model_validate(
        {"sources": {"set": {**table.sources["set"].model_dump(), "parts": {"val": {"layout": "pixelsplat"}}}}}
    )
    with pytest.raises(
        ValueError, match=r"val in .* is not a folder with \*\.torch chunks; it holds \['more', 'set'\]"
    ):
        fetch_source(other, "set", root=tmp_path, patience=PATIENCE)
    assert not (tmp_path / "resources/data/set/val").exists()


def test_parts_are_told_by_what_they_hold(tmp_path):
    for folder, file in (("p", "0.torch"), ("l", "full_list.txt"), ("m/metadata", "a.json"), ("h", "config.json")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).write_text("{}")
    assert [name for name in "plmh" if fits(tmp_path / name, "pixelsplat")] == ["p"]
    assert [name for name in "plmh" if fits(tmp_path / name, "lvsm")] == ["l", "m"]
    assert [name for name in "plmh" if fits(tmp_path / name, "huggingface")] == [], "without weights"
    (tmp_path / "h/model.safetensors").touch()
    assert fits(tmp_path / "h", "huggingface")
    assert fits(tmp_path / "p/0.torch", "file")
    assert not fits(tmp_path / "p", "file")
    assert locate(tmp_path, "x", Part(layout="lvsm", find=("nothing", "?"))) == tmp_path / "l", "in the order of names"
    assert locate(tmp_path / "p", "x", Part(layout="pixelsplat", find=(".",))) == tmp_path / "p"


def test_listings_give_scenes_and_frames(tmp_path):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "full_list.txt").write_text("/elsewhere/metadata/a.json\nmetadata/b.json\n\n")
    (tmp_path / "metadata/a.json").write_text('{"frames": [{"image_path": "a.png"}, {"image_path": "a.png"}]}')
    Image.new("RGB", (2, 2)).save(tmp_path / "metadata/a.png")
    (tmp_path / "metadata/b.json").write_text('{"frames": [{}')
    assert scene_names(tmp_path, "lvsm") == ["a", "b"]
    content = look_through(tmp_path, "lvsm")
    assert (content.frames, content.reasons) == (2, {"scene file cannot be read": 1})
    assert scene_names(tmp_path, "pixelsplat") is None
    (tmp_path / "index.json").write_text('["a"]')
    with pytest.raises(ValueError, match=r"index\.json must map scene keys to file names"):
        scene_names(tmp_path, "pixelsplat")


def joining(tmp_path) -> SourceTable:
    parts = {"1K": {"layout": "pixelsplat"}, "2K": {"layout": "pixelsplat"}, "10K": {"layout": "pixelsplat"},
             "train": {"layout": "pixelsplat", "joins": ["1K", "2K"]}}  # fmt: skip
    source = {"title": "A", "home": "https://example.org", "folder": "data/set", "provide": "ask", "parts": parts}
    for number, name in enumerate(("1K", "2K", "10K")):
        folder = tmp_path / "data/set" / name
        folder.mkdir(parents=True)
        (folder / "000000.torch").write_text(name)
        (folder / "index.json").write_text(json.dumps({f"scene{number}": "000000.torch"}))
    return SourceTable.model_validate({"sources": {"set": source}})


def test_a_part_that_joins_others_holds_their_chunks_as_links(tmp_path):
    table = joining(tmp_path)
    place = tmp_path / "data/set/train"
    assert fetch_source(table, "set", parts=["train"], root=tmp_path) == [place]
    assert json.loads((place / "index.json").read_text()) == {"scene0": "1K-000000.torch", "scene1": "2K-000000.torch"}
    assert [(place / f"{name}-000000.torch").read_text() for name in ("1K", "2K")] == ["1K", "2K"]
    assert (place / "1K-000000.torch").readlink().as_posix() == "../1K/000000.torch"
    assert scene_names(place, "pixelsplat") == ["scene0", "scene1"]
    assert fetch_source(table, "set", parts=["train"], root=tmp_path) == []


def test_a_scene_in_two_joined_parts_is_refused_by_name(tmp_path):
    table = joining(tmp_path)
    (tmp_path / "data/set/2K/index.json").write_text('{"scene0": "000000.torch"}')
    with pytest.raises(ValueError, match=r"2K: scene scene0 is in 1K-000000\.torch as well"):
        fetch_source(table, "set", root=tmp_path)
    assert not (tmp_path / "data/set/train").exists()
    (tmp_path / "data/set/2K/index.json").unlink()
    with pytest.raises(ValueError, match=r"2K has no index\.json"):
        fetch_source(table, "set", root=tmp_path)


def test_a_part_can_join_only_chunks_of_parts_that_exist(tmp_path):
    plain = joining(tmp_path).sources["set"].model_dump()
    for joins, layout, message in ((["3K"], "pixelsplat", "joins \\['3K'\\]"), (["1K"], "lvsm", "joins lvsm")):
        parts = {**plain["parts"], "train": {"layout": layout, "joins": joins}}
        with pytest.raises(ValueError, match=message):
            SourceTable.model_validate({"sources": {"set": {**plain, "parts": parts}}})


def test_the_table_of_the_repository_is_valid_and_knows_the_published_counts():
    sources = load_table().sources
    parts = sources["dre10k"].parts
    assert (parts["train"].scenes, parts["train"].frames) == (15467, 147422)
    assert (parts["test"].scenes, parts["test"].frames) == (76, 1541)
    assert {"re10k", "re10k_lvsm", "dl3dv", "dl3dv_lvsm", "dl3dv_benchmark", "dre10k", "dre10k_iphone", "coco"} <= set(
        sources
    )
    assert {f"dinov3_{size}16" for size in ("vits", "vitb", "vitl", "vit7b")} <= set(sources)
    assert {f"timm_dinov3_{size}16" for size in ("vits", "vitb", "vitl", "vit7b")} <= set(sources)
    assert not any(source.gated for name, source in sources.items() if name.startswith("timm_"))
    assert sources["vgg19"].files[0].md5 == "106118b7cf60435e6d8e04f6a6dc3657"
    assert all(source.accept for source in sources.values() if source.gated)
    assert all(source.folder.startswith("resources/") for source in sources.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provide": "ask"}, "give exactly one of files, hub and provide"),
        ({"files": []}, "give exactly one of files, hub and provide"),
        ({"gated": True}, "gated: true needs accept"),
        ({"folder": "/data"}, "must be a relative path"),
        ({"parts": {"../x": {"layout": "file"}}}, "must be a relative path"),
        ({"parts": {"x": {"layout": "zip"}}}, "Input should be"),
        ({"parts": {"x": {"layout": "file"}}}, "is no downloaded file"),
        ({"licens": "MIT"}, "Extra inputs are not permitted"),
        ({"files": [{"name": "../x", "mirrors": ["http://x"]}]}, "String should match pattern"),
        ({"files": [{"name": "x", "mirrors": ["ftp://x"]}]}, "is no http or https address"),
        ({"files": [{"name": "x", "mirrors": ["http://x"], "md5": "abc"}]}, "String should match pattern"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path, change, message):
    good = {
        "title": "A",
        "home": "https://example.org",
        "folder": "resources/a",
        "files": [{"name": "x.bin", "mirrors": ["http://x"]}],
        "parts": {"x.bin": {"layout": "file"}},
    }
    file = tmp_path / "sources.yaml"
    file.write_text(json.dumps({"sources": {"a": good}}))
    assert load_table(file).at("./resources/a/x.bin") == ("a", "x.bin")
    file.write_text(json.dumps({"sources": {"a": {**good, **change}}}))
    with pytest.raises(ValueError, match=message):
        load_table(file)


def test_two_sources_cannot_share_a_place(tmp_path):
    good = {"title": "A", "home": "h", "folder": "f", "provide": "ask", "parts": {"x": {"layout": "file"}}}
    (tmp_path / "sources.yaml").write_text(json.dumps({"sources": {"a": good, "b": good}}))
    with pytest.raises(ValueError, match="f/x is the place of both a and b"):
        load_table(tmp_path / "sources.yaml")
    with pytest.raises(ValueError, match="no such table of sources"):
        load_table(tmp_path / "nowhere.yaml")
