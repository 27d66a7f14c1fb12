"""COCO, Pascal VOC, YOLO, CSV files of boxes and points, MOT: their boxes, and what is wrong."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets import animals
from fieldsight.datasets.animals import AnimalSet
from fieldsight.datasets.errors import DataError, DatasetNotFoundError


@pytest.fixture(scope="module")
def wildlife() -> Path:
    """The folder of real pictures; skips where it is absent."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("FIELDSIGHT_DATA", beside)) / "wildlife"
    if not folder.is_dir():
        pytest.skip(f"real pictures aren't in {folder}; name their folder in FIELDSIGHT_DATA")
    return folder


def picture(path: Path, size: tuple[int, int] = (60, 40), orientation: int = 1) -> Path:
    """A grey picture; size is columns and rows, as stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, "grey").save(path, exif=exif)
    return path


def boxes(found: AnimalSet, name: str) -> list[list[float]]:
    return next(frame for frame in found.frames if frame.name == name).boxes.tolist()


# COCO


def coco(**changes: Any) -> dict[str, Any]:
    content = {
        "images": [
            {"id": 5, "file_name": "a.jpg", "width": 60, "height": 40},
            {"id": 9, "file_name": "b.jpg", "width": 60, "height": 40},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 30, "bbox": [1, 2, 10, 20], "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 7, "bbox": [5.5, 2.25, 4, 3], "iscrowd": 0},
            {"id": 3, "image_id": 5, "category_id": 7, "bbox": [0, 0, 60, 10], "iscrowd": 1},
        ],
        "categories": [{"id": 30, "name": "zebra"}, {"id": 7, "name": "person"}],
    }
    return content | changes


def write_coco(folder: Path, content: Any, name: str = "annotations.json") -> None:
    for each in ("a.jpg", "b.jpg"):
        picture(folder / "images" / each)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_coco_boxes_are_those_that_pycocotools_reads(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    write_coco(tmp_path, coco())
    found = animals.load(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(tmp_path / "annotations.json"))
    expected = [
        [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        for box in (each["bbox"] for each in theirs.loadAnns(theirs.getAnnIds(5, iscrowd=False)))
    ]
    assert boxes(found, "images/a.jpg") == expected == [[1, 2, 11, 22], [5.5, 2.25, 9.5, 5.25]]
    assert (found.kind, found.classes) == ("coco", ("zebra", "person"))
    assert found.people == {"person"}
    assert found.frames[0].labels.tolist() == [0, 1]
    # A crowd is neither right nor wrong; a listed picture without annotations is empty.
    assert found.frames[0].ignored.tolist() == [[0, 0, 60, 10]]
    assert boxes(found, "images/b.jpg") == []
    assert found.failures == {}


@pytest.mark.parametrize("name", ["annotations.json", "annotations/instances_all.json"])
def test_coco_finds_pictures_from_where_the_json_lies(tmp_path: Path, name: str) -> None:
    write_coco(tmp_path, coco(), name)
    assert len(animals.load(tmp_path)) == 2
    assert len(animals.load(tmp_path / name)) == 2


def test_coco_category_ids_that_dont_match_are_told(tmp_path: Path) -> None:
    content = coco()
    content["annotations"][0]["category_id"] = 31
    write_coco(tmp_path, content)
    found = animals.load(tmp_path)
    told = found.failures["annotations.json, annotation 1"]
    assert "a category_id of the categories (30, 7) was needed. Received: 31" in told
    # Something is there, though nobody knows what.
    assert found.frames[0].ignored.tolist() == [[1, 2, 11, 22], [0, 0, 60, 10]]


def test_coco_annotations_without_picture_and_the_reverse_are_told(tmp_path: Path) -> None:
    content = coco()
    content["images"].append({"id": 11, "file_name": "gone.jpg"})
    content["annotations"] += [
        {"id": 4, "image_id": 11, "category_id": 7, "bbox": [1, 1, 5, 5]},
        {"id": 5, "image_id": 12, "category_id": 7, "bbox": [1, 1, 5, 5]},
    ]
    write_coco(tmp_path, content)
    picture(tmp_path / "images" / "nobody.jpg")
    found = animals.load(tmp_path)
    assert sorted(found.failures) == [
        "annotations.json, annotation 5", "annotations.json, gone.jpg",
    ]  # fmt: skip
    assert "no such file" in found.failures["annotations.json, gone.jpg"]
    assert (
        "an image_id of the images was needed. Received: 12"
        in (found.failures["annotations.json, annotation 5"])
    )
    assert "nobody.jpg" in found.notes[0]
    assert "isn't known" in found.notes[0]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([1, 2, float("nan"), 4], "four finite numbers"),
        ([1, 2, 0, 4], "wider and higher than 0"),
        ([100, 2, 5, 4], "within 60 x 40 pixels"),
        ([1, 2, 3], "left, top, width, height was needed. Received: [1, 2, 3]"),
        (["a", 2, 3, 4], "left, top, width, height was needed. Received: ['a', 2, 3, 4]"),
        (None, "left, top, width, height was needed. Received: None"),
    ],
)
def test_coco_boxes_that_are_none_are_told(tmp_path: Path, box: Any, message: str) -> None:
    content = coco()
    content["annotations"][1]["bbox"] = box
    write_coco(tmp_path, content)
    found = animals.load(tmp_path)
    assert message in found.failures["annotations.json, annotation 2"]
    assert boxes(found, "images/a.jpg") == [[1, 2, 11, 22]]


def test_coco_outlines_give_boxes_where_there_are_none(tmp_path: Path) -> None:
    content = coco()
    del content["annotations"][1]["bbox"]
    content["annotations"][1]["segmentation"] = [[3, 4, 9, 5, 6, 20], [10, 4, 12, 6, 11, 8]]
    write_coco(tmp_path, content)
    assert boxes(animals.load(tmp_path), "images/a.jpg")[1] == [3, 4, 12, 20]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "COCO's JSON was needed"),
        (coco(images={}), "Received: no list images of objects"),
        (coco(annotations=[3]), "Received: no list annotations of objects"),
        (coco(categories=[{"id": 3}]), "an id and a name of each category"),
        (coco(categories=[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]), "3 for a and b"),
        (coco(images=[]), "none that can be used"),
    ],
)
def test_a_damaged_coco_file_is_told(tmp_path: Path, content: Any, message: str) -> None:
    write_coco(tmp_path, content)
    with pytest.raises(DataError) as caught:
        animals.load(tmp_path / "annotations.json")
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["video_id", "flight", "location", "seq_id"])
def test_coco_groups_are_what_images_say(tmp_path: Path, key: str) -> None:
    content = coco()
    content["images"][0][key], content["images"][1][key] = 3, 4
    write_coco(tmp_path, content)
    prefix = "video_id-" if key == "video_id" else ""
    assert animals.load(tmp_path).groups.tolist() == [f"{prefix}3", f"{prefix}4"]


def test_coco_sides_are_those_of_its_files(tmp_path: Path) -> None:
    train, test = coco(), coco()
    train["images"], test["images"] = train["images"][:1], test["images"][1:]
    test["annotations"] = []
    write_coco(tmp_path, train, "annotations/instances_train.json")
    write_coco(tmp_path, test, "annotations/instances_test.json")
    found = animals.load(tmp_path)
    assert found.split == {"images/a.jpg": "train", "images/b.jpg": "test"}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # As displayed, 40 x 60 after the turn: boxes stay.
        ((40, 60), [[1, 2, 11, 22]]),
        # As stored, 60 x 40: turned by a quarter, rows 2 to 22 become columns 18 to 38 from the
        # right (40 - 22, 40 - 2), columns become rows.
        ((60, 40), [[18, 1, 38, 11]]),
    ],
)
def test_boxes_turn_with_a_picture_that_was_annotated_unturned(
    tmp_path: Path, size: tuple[int, int], expected: list[list[float]]
) -> None:
    content = coco()
    content["images"] = [{"id": 5, "file_name": "turned.jpg", "width": size[0], "height": size[1]}]
    content["annotations"] = content["annotations"][:1]
    write_coco(tmp_path, content)
    picture(tmp_path / "turned.jpg", (60, 40), orientation=6)
    found = animals.load(tmp_path)
    assert found.frames[0].size == (60, 40)
    assert found.frames[0].read().shape == (60, 40, 3)
    assert found.frames[0].boxes.tolist() == expected


def test_a_picture_of_another_size_than_was_annotated_is_told(tmp_path: Path) -> None:
    content = coco()
    content["images"][0]["width"] = 6000
    write_coco(tmp_path, content)
    found = animals.load(tmp_path)
    assert "6000 x 40 pixels was needed" in found.failures["images/a.jpg"]
    assert [frame.name for frame in found.frames] == ["images/b.jpg"]


# Pascal VOC

OBJECT = (
    "<object><name>{name}</name>{more}<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
    "<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
)


def write_voc(
    folder: Path, stem: str, box: Any, more: str = "", name: str = "zebra", size: str = ""
) -> None:
    picture(folder / "JPEGImages" / f"{stem}.jpg")
    (folder / "Annotations").mkdir(exist_ok=True)
    (folder / "Annotations" / f"{stem}.xml").write_text(
        f"<annotation><filename>{stem}.jpg</filename>{size}"
        f"{OBJECT.format(name=name, more=more, box=box)}</annotation>"
    )


def test_voc_counts_pixels_from_1_and_the_last_one_is_within(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", (1, 1, 60, 40))
    found = animals.load(tmp_path)
    assert (found.kind, found.classes) == ("voc", ("zebra",))
    assert boxes(found, "JPEGImages/a.jpg") == [[0, 0, 60, 40]]


@pytest.mark.parametrize("other", [(0, 5, 10, 20), (1.5, 5, 10, 20)])
def test_voc_files_that_cant_count_from_1_are_read_as_written(
    tmp_path: Path, other: tuple[float, ...]
) -> None:
    write_voc(tmp_path, "a", (7, 8, 20, 30))
    write_voc(tmp_path, "b", other)
    found = animals.load(tmp_path)
    assert boxes(found, "JPEGImages/a.jpg") == [[7, 8, 20, 30]]
    assert "boxes count from 0" in " ".join(found.notes)
    named = animals.load(tmp_path, one_based=True)
    assert boxes(named, "JPEGImages/a.jpg") == [[6, 7, 20, 30]]


def test_voc_difficult_objects_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    write_voc(tmp_path, "a", (1, 1, 9, 9), "<difficult>1</difficult>")
    write_voc(tmp_path, "b", (1, 1, 9, 9), "<truncated>1</truncated><occluded>0</occluded>")
    found = animals.load(tmp_path)
    assert found.frames[0].ignored.tolist() == [[0, 0, 9, 9]]
    assert len(found.frames[0].boxes) == 0
    assert found.frames[1].occluded.tolist() == [True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "Pascal VOC's XML was needed. Received: no element found"),
        (
            '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
            "Pascal VOC's XML was needed. Received: EntitiesForbidden",
        ),
        ("<annotation><filename>gone.jpg</filename></annotation>", "'gone.jpg' was needed"),
        (
            "<annotation><filename>a.jpg</filename></annotation>",
            "one XML a picture was needed. Received: a second one for JPEGImages/a.jpg",
        ),
    ],
)
def test_a_bad_voc_file_is_told_and_the_others_are_taken(
    tmp_path: Path, content: str, message: str
) -> None:
    write_voc(tmp_path, "a", (1, 1, 9, 9))
    (tmp_path / "Annotations" / "z.xml").write_text(content)
    found = animals.load(tmp_path)
    assert len(found) == 1
    assert message in found.failures["Annotations/z.xml"]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (("nan", 1, 9, 9), "four finite numbers"),
        (("", 1, 9, 9), "a bndbox of xmin, ymin, xmax, ymax was needed"),
        ((30, 1, 9, 9), "wider and higher than 0 was needed. Received: -20 x 9"),
    ],
)
def test_a_bad_voc_box_is_told(tmp_path: Path, box: Any, message: str) -> None:
    write_voc(tmp_path, "a", box)
    found = animals.load(tmp_path)
    assert message in found.failures["Annotations/a.xml, object 1"]
    assert boxes(found, "JPEGImages/a.jpg") == []


def test_voc_sides_are_those_of_its_lists(tmp_path: Path) -> None:
    for stem in "abc":
        write_voc(tmp_path, stem, (1, 1, 9, 9))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc 1\n")
    (lists / "test.txt").write_text("b\nnobody\n")
    assert animals.load(tmp_path).split == {
        "JPEGImages/a.jpg": "train", "JPEGImages/b.jpg": "test", "JPEGImages/c.jpg": "train",
    }  # fmt: skip


def test_real_tree_crowns_have_the_boxes_of_their_xml(wildlife: Path) -> None:
    found = animals.load(wildlife / "tree_crowns")
    assert {frame.name: len(frame.boxes) for frame in found.frames} == {
        "2019_YELL_2_541000_4977000_image_crop.png": 279, "OSBS_029.tif": 61, "SOAP_061.png": 37,
    }  # fmt: skip
    assert found.classes == ("Alive", "Dead", "Tree")
    assert found.failures == {}
    for frame in found.frames:
        assert frame.read().shape == (*frame.size, 3)


# YOLO


def write_yolo(folder: Path, rows: str, yaml: str | None) -> None:
    picture(folder / "images" / "train" / "a.jpg")
    picture(folder / "images" / "val" / "b.jpg")
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text(rows)
    if yaml is not None:
        (folder / "data.yaml").write_text(yaml)


YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: zebra\n  1: truck\n"


def test_yolo_boxes_are_parts_of_the_sides(tmp_path: Path) -> None:
    # Of 60 x 40: the middle at 30, 10; 6 wide and 20 high.
    write_yolo(tmp_path, "1 0.5 0.25 0.1 0.5\n", YAML)
    for found in (animals.load(tmp_path), animals.load(tmp_path / "data.yaml")):
        np.testing.assert_allclose(boxes(found, "images/train/a.jpg"), [[27, 0, 33, 20]], atol=1e-5)
        assert found.classes == ("zebra", "truck")
        assert found.vehicles == {"truck"}
        assert found.split == {"images/train/a.jpg": "train", "images/val/b.jpg": "val"}
        # As YOLO trains: a picture without a text file is empty.
        assert boxes(found, "images/val/b.jpg") == []
        assert "1 pictures without a text file are taken for empty" in found.notes


@pytest.mark.parametrize(
    "yaml",
    [
        "train: ../train/images\nval: ../nothing\nnc: 1\nnames: ['zebra']\n",
        "path: /of/another/machine\ntrain: train/images\nnames: [zebra]\n",
        "train: list.txt\nnames: {0: zebra}\n",
    ],
)
def test_yolo_finds_pictures_as_exports_name_them(tmp_path: Path, yaml: str) -> None:
    picture(tmp_path / "train" / "images" / "a.jpg")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5 0.9\n")
    (tmp_path / "list.txt").write_text("./train/images/a.jpg\n")
    (tmp_path / "data.yaml").write_text(yaml)
    found = animals.load(tmp_path)
    assert boxes(found, "train/images/a.jpg") == [[15, 10, 45, 30]]
    assert found.classes == ("zebra",)


def test_yolo_takes_each_picture_once_where_a_link_leads_in_a_circle(tmp_path: Path) -> None:
    write_yolo(tmp_path, "0 0.5 0.5 0.5 0.5\n", "train: images/train\nnames: [a]\n")
    there = len(animals.load(tmp_path))
    (tmp_path / "images" / "train" / "loop").symlink_to("..")
    assert len(animals.load(tmp_path)) == there


def test_yolo_without_yaml_takes_names_from_classes_txt(tmp_path: Path) -> None:
    write_yolo(tmp_path, "1 0.5 0.5 0.5 0.5\n", None)
    assert animals.load(tmp_path).classes == ("class_1",)
    (tmp_path / "classes.txt").write_text("zebra\nlion\n")
    assert animals.load(tmp_path).classes == ("zebra", "lion")


def test_yolo_outlines_give_boxes(tmp_path: Path) -> None:
    write_yolo(tmp_path, "0 0.1 0.5 0.2 0.25 0.3 0.75\n", YAML)
    found = animals.load(tmp_path)
    np.testing.assert_allclose(boxes(found, "images/train/a.jpg"), [[6, 10, 18, 30]], atol=1e-5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 30 20 5 5", "parts of the picture's sides, 0 to 1, were needed"),
        ("0 nan 0.5 0.1 0.1", "four finite numbers"),
        ("0 0.5 0.5 0 0.1", "wider and higher than 0"),
        ("0 0.5 0.5", "class middle_x middle_y width height were needed"),
        ("zebra 0.5 0.5 0.1 0.1", "class middle_x middle_y width height were needed"),
        ("7 0.5 0.5 0.1 0.1", "a class of data.yaml, 0 to 1, was needed. Received: 7"),
    ],
)
def test_a_bad_yolo_row_is_told(tmp_path: Path, row: str, message: str) -> None:
    write_yolo(tmp_path, f"0 0.5 0.5 0.5 0.5\n{row}\n", YAML)
    found = animals.load(tmp_path)
    assert message in found.failures["labels/train/a.txt, line 2"]
    assert boxes(found, "images/train/a.jpg") == [[15, 10, 45, 30]]


def test_yolo_text_files_without_picture_are_told(tmp_path: Path) -> None:
    write_yolo(tmp_path, "0 0.5 0.5 0.5 0.5\n", YAML)
    (tmp_path / "labels" / "train" / "gone.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert list(animals.load(tmp_path).failures) == ["labels/train/gone.txt"]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [a\n", "YOLO's data.yaml was needed"),
        ("train: images/train\n", "names of the classes, and the folders train, val, test"),
        ("train: images/train\nnc: 3\nnames: [a]\n", "Received: 1 names, nc 3"),
        ("train: nowhere\nnames: [a]\n", "Received: 0 pictures"),
        ("train: images/train\nnames:\n", "names as a list, or by whole numbers"),
        ("train: images/train\nnames: 5\n", "Received: 5. Correct them"),
        ("train: images/train\nnames: true\n", "Received: True. Correct them"),
        ("train: images/train\nnames: waterfowl\n", "Received: 'waterfowl'. Correct them"),
        ("train: 5\nnames: [a]\n", "was needed for train. Received: 5."),
        ("train: {a: b}\nnames: [a]\n", "was needed for train. Received: {'a': 'b'}."),
    ],
)
def test_a_bad_data_yaml_is_told(tmp_path: Path, yaml: str, message: str) -> None:
    write_yolo(tmp_path, "0 0.5 0.5 0.5 0.5\n", yaml)
    with pytest.raises(DataError) as caught:
        animals.load(tmp_path)
    assert message in str(caught.value)


# CSV files of boxes and points


def write_csv(folder: Path, content: str, name: str = "boxes.csv") -> None:
    picture(folder / "a.jpg")
    picture(folder / "b.jpg")
    (folder / name).write_text(content)


HEADING = "image_path,xmin,ymin,xmax,ymax,label\n"


def test_a_table_of_boxes_is_read_as_deepforest_writes_it(tmp_path: Path) -> None:
    write_csv(tmp_path, HEADING + "a.jpg,1,2,11,22,Heron\na.jpg,5,5,9.5,9,Egret\nb.jpg,0,0,0,0,\n")
    found = animals.load(tmp_path)
    assert (found.kind, found.classes) == ("box_csv", ("Egret", "Heron"))
    assert boxes(found, "a.jpg") == [[1, 2, 11, 22], [5, 5, 9.5, 9]]
    assert found.frames[0].labels.tolist() == [1, 0]
    # Four zeros say that somebody looked, and nothing was there.
    assert boxes(found, "b.jpg") == []
    assert found.failures == {}


def test_a_table_of_boxes_without_a_heading_is_keras_retinanets(tmp_path: Path) -> None:
    # github.com/fizyr/keras-retinanet, "CSV datasets": path,x1,y1,x2,y2,class_name; empty cells
    # for a picture without any.
    write_csv(tmp_path, "a.jpg,1,2,11,22,Heron\na.jpg,5,5,9.5,9,Egret\nb.jpg,,,,,\n", "train.csv")
    found = animals.load(tmp_path)
    assert (found.kind, found.classes) == ("box_csv", ("Egret", "Heron"))
    assert boxes(found, "a.jpg") == [[1, 2, 11, 22], [5, 5, 9.5, 9]]
    assert boxes(found, "b.jpg") == []
    assert not found.failures


def test_a_table_of_boxes_is_read_as_herdnet_writes_it(tmp_path: Path) -> None:
    write_csv(tmp_path, "images,x_min,y_min,x_max,y_max,labels\na.jpg,1,2,11,22,3\n")
    found = animals.load(tmp_path / "boxes.csv")
    assert boxes(found, "a.jpg") == [[1, 2, 11, 22]]
    assert found.classes == ("3",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,nan,2,11,22,Heron", "four finite numbers"),
        ("a.jpg,5,2,5,22,Heron", "wider and higher than 0 was needed. Received: 0 x 20"),
        ("a.jpg,500,2,511,22,Heron", "within 60 x 40 pixels was needed"),
        ("a.jpg,one,2,11,22,Heron", "numbers xmin,ymin,xmax,ymax were needed"),
        ("a.jpg,,2,11,22,Heron", "numbers xmin,ymin,xmax,ymax were needed"),
        ("a.jpg,1,2,11,22,", "label was needed. Received: an empty cell"),
    ],
)
def test_a_bad_row_of_a_table_is_told(tmp_path: Path, row: str, message: str) -> None:
    write_csv(tmp_path, f"{HEADING}a.jpg,1,2,11,22,Heron\n{row}\n")
    found = animals.load(tmp_path)
    assert message in found.failures["boxes.csv, line 3"]
    assert boxes(found, "a.jpg") == [[1, 2, 11, 22]]


def test_rows_without_picture_and_pictures_without_rows_are_told(tmp_path: Path) -> None:
    write_csv(tmp_path, HEADING + "a.jpg,1,2,11,22,Heron\ngone.jpg,1,2,3,4,Heron\n" * 2)
    found = animals.load(tmp_path)
    assert "for 2 rows" in found.failures["boxes.csv, gone.jpg"]
    assert [frame.name for frame in found.frames] == ["a.jpg"]
    assert "such as b.jpg" in found.notes[0]


def test_columns_of_flights_and_sides_are_read(tmp_path: Path) -> None:
    write_csv(
        tmp_path,
        "image_path,xmin,ymin,xmax,ymax,label,flight,split\n"
        "a.jpg,1,2,11,22,Heron,north,train\nb.jpg,1,2,11,22,Heron,south,test\n",
    )
    found = animals.load(tmp_path)
    assert found.groups.tolist() == ["north", "south"]
    assert found.split == {"a.jpg": "train", "b.jpg": "test"}


def test_folders_are_flights_where_there_are_several(tmp_path: Path) -> None:
    # W-1
    for name in ("one/a.jpg", "one/b.jpg", "two/a.jpg", "three/a.jpg"):
        picture(tmp_path / name)
    rows = "".join(f"{name},1,2,11,22,Heron\n" for name in
                   ("one/a.jpg", "one/b.jpg", "two/a.jpg", "three/a.jpg"))  # fmt: skip
    (tmp_path / "boxes.csv").write_text(HEADING + rows)
    found = animals.load(tmp_path)
    assert found.groups.tolist() == ["one", "one", "three", "two"]
    split = found.divided(fractions=(0.4, 0.3, 0.3))
    sides = [set(found.groups[side]) for side in (split.train, split.val, split.test)]
    assert sorted(len(side) for side in sides) == [1, 1, 1]
    assert not sides[0] & sides[1] & sides[2]


def test_points_become_boxes_whose_middles_they_are(tmp_path: Path) -> None:
    write_csv(tmp_path, "images,x,y,labels\na.jpg,2,10,1\na.jpg,30.5,20,2\nb.jpg,,,\n", "gt.csv")
    found = animals.load(tmp_path, radius_px=5)
    assert (found.kind, found.radius_px, found.classes) == ("point_csv", 5, ("1", "2"))
    # Over the edge too: cut, the box's middle would be another point.
    assert boxes(found, "a.jpg") == [[-3, 5, 7, 15], [25.5, 15, 35.5, 25]]
    assert found.frames[0].points
    assert boxes(found, "b.jpg") == []


def test_points_outside_the_picture_are_told(tmp_path: Path) -> None:
    write_csv(tmp_path, "images,x,y,labels\na.jpg,2,10,1\na.jpg,62,10,1\na.jpg,nan,10,1\n")
    found = animals.load(tmp_path, radius_px=5)
    assert len(boxes(found, "a.jpg")) == 1
    assert sorted(found.failures) == ["boxes.csv, line 3", "boxes.csv, line 4"]


def test_real_waterfowl_are_the_136_of_their_table(wildlife: Path) -> None:
    found = animals.load(wildlife / "thermal_waterfowl")
    assert len(found) == 1
    assert found.frames[0].boxes.shape == (136, 4)
    assert found.frames[0].boxes[0].tolist() == [484, 6, 492, 14]
    assert found.frames[0].read().shape == (512, 640, 1)


# MOT


def write_mot(folder: Path, rows: str, labels: str | None = None) -> None:
    for number in (1, 2, 3):
        picture(folder / "img1" / f"{number:06d}.jpg")
    (folder / "gt").mkdir(exist_ok=True)
    (folder / "gt" / "gt.txt").write_text(rows)
    if labels is not None:
        (folder / "gt" / "labels.txt").write_text(labels)


def test_mot_counts_frames_and_pixels_from_1(tmp_path: Path) -> None:
    rows = "1,4,1,1,10,20,1,1,0.8\n1,5,3,3,4,4,0,1,1\n3,4,11.5,2,10,20,1,3,0.2\n"
    write_mot(tmp_path / "train" / "S-01", rows)
    found = animals.load(tmp_path)
    assert (found.kind, found.classes) == ("mot", ("pedestrian", "car"))
    assert [frame.index for frame in found.frames] == [1, 2, 3]
    assert boxes(found, "train/S-01/img1/000001.jpg") == [[0, 0, 10, 20]]
    assert boxes(found, "train/S-01/img1/000003.jpg") == [[10.5, 1, 20.5, 21]]
    assert found.frames[0].tracks.tolist() == found.frames[2].tracks.tolist() == [4]
    # What isn't considered is neither right nor wrong; frames without rows are empty (W-3).
    assert found.frames[0].ignored.tolist() == [[2, 2, 6, 6]]
    assert len(found.frames[1].boxes) == 0
    assert found.frames[2].occluded.tolist() == [True]
    assert set(found.groups) == {"train/S-01"}
    assert found.split is not None
    assert set(found.split.values()) == {"train"}
    from_zero = animals.load(tmp_path, one_based=False)
    assert boxes(from_zero, "train/S-01/img1/000001.jpg") == [[1, 1, 11, 21]]


def test_mot_classes_are_those_of_labels_txt(tmp_path: Path) -> None:
    write_mot(tmp_path, "1,4,1,1,10,20,1,2,1\n", "zebra\nlion\n")
    assert animals.load(tmp_path).classes == ("lion",)


def test_mot_results_of_a_tracker_have_no_class(tmp_path: Path) -> None:
    write_mot(tmp_path, "1,4,1,1,10,20,0.7,-1,-1,-1\n")
    assert animals.load(tmp_path).classes == ("object",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,4,nan,1,10,20,1,1,1", "four finite numbers"),
        ("1,4,1,1,0,20,1,1,1", "wider and higher than 0"),
        ("1,4,1,1", "visibility were needed. Received: '1,4,1,1'"),
        ("1,4,1,1,5,5,1,77,1", "a class from 1 to 13 was needed. Received: 77"),
    ],
)
def test_a_bad_mot_row_is_told(tmp_path: Path, row: str, message: str) -> None:
    write_mot(tmp_path / "S", f"1,4,1,1,10,20,1,1,1\n{row}\n")
    found = animals.load(tmp_path)
    assert message in found.failures["S/gt/gt.txt, line 2"]
    assert boxes(found, "S/img1/000001.jpg") == [[0, 0, 10, 20]]


def test_mot_rates_are_those_of_seqinfo(tmp_path: Path) -> None:
    for name, said in (("A", "frameRate=12.5"), ("B", "frameRate=0"), ("C", "seqLength=3")):
        write_mot(tmp_path / name, "1,4,1,1,10,20,1,1,1\n")
        (tmp_path / name / "seqinfo.ini").write_text(f"[Sequence]\n{said}\n")
    assert animals.load(tmp_path).rates == {"A": 12.5}


def test_a_track_twice_in_a_frame_is_told_and_the_first_box_is_kept(tmp_path: Path) -> None:
    # The second frame may have it again, and so may tracks that aren't considered.
    rows = "1,4,1,1,10,20,1,1,1\n1,4,31,1,10,20,1,1,1\n2,4,1,1,10,20,1,1,1\n1,4,1,1,9,9,0,1,1\n"
    write_mot(tmp_path / "A", rows)
    write_mot(tmp_path / "B", "1,4,1,1,10,20,1,1,1\n")
    found = animals.load(tmp_path)
    assert {name: frame.tracks.tolist() for frame in found.frames
            if len(frame.tracks) and (name := frame.name)} == {
        "A/img1/000001.jpg": [4], "A/img1/000002.jpg": [4], "B/img1/000001.jpg": [4],
    }  # fmt: skip
    assert boxes(found, "A/img1/000001.jpg") == [[0, 0, 10, 20]]
    ((where, reason),) = found.failures.items()
    assert where == "A/gt/gt.txt, line 2"
    assert "Received: 4, as in A/gt/gt.txt, line 1" in reason


def test_mot_rows_and_sequences_without_pictures_are_told(tmp_path: Path) -> None:
    write_mot(tmp_path / "A", "1,4,1,1,10,20,1,1,1\n9,4,1,1,10,20,1,1,1\n")
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "seqinfo.ini").write_text("[Sequence]\nname=B\n")
    found = animals.load(tmp_path)
    assert "none for 1 frames, the first 9" in found.failures["A/gt/gt.txt"]
    assert "Received: no such file" in found.failures["B/gt/gt.txt"]
    assert len(found) == 3


# All of them


def test_nothing_that_is_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"BIRDSAI's TrainReal.*Received: none of them"):
        animals.load(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="no such file or folder"):
        animals.load(tmp_path / "nowhere")
    picture(tmp_path / "a.jpg")
    with pytest.raises(DatasetNotFoundError, match="Received: none of them"):
        animals.load(tmp_path / "a.jpg")


def test_a_table_of_another_form_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    # Zooniverse's exports name no picture: they are of subjects that were uploaded there.
    picture(tmp_path / "a.jpg")
    (tmp_path / "parsed_annotations.csv").write_text(",label,species,x,y\n0,Ibis,Ibis,12.5,8.25\n")
    with pytest.raises(DatasetNotFoundError, match=r"parsed_annotations.csv has no column image_p"):
        animals.load(tmp_path)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("latin-1", "boxes.csv isn't in UTF-8"), ("utf-16", "boxes.csv is in UTF-16")],
)
def test_a_table_that_isnt_in_utf_8_is_told(tmp_path: Path, encoding: str, message: str) -> None:
    text = "image_path,xmin,ymin,xmax,ymax,label\na.jpg,1,1,9,9,élan\n"
    (tmp_path / "boxes.csv").write_bytes(text.encode(encoding))
    for path in (tmp_path, tmp_path / "boxes.csv"):
        with pytest.raises(DataError, match=message):
            animals.load(path)


def test_a_published_split_that_tears_a_flight_apart_is_refused(tmp_path: Path) -> None:
    # W-1, C-6
    write_csv(
        tmp_path,
        "image_path,xmin,ymin,xmax,ymax,label,flight,split\n"
        "a.jpg,1,2,11,22,Heron,north,train\nb.jpg,1,2,11,22,Heron,north,test\n",
    )
    with pytest.raises(DataError, match="north"):
        animals.load(tmp_path).divided()
