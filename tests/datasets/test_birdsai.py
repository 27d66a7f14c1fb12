"""BIRDSAI's layout, and every odd case of it (W-1, W-2, W-3)."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldsight.datasets import animals, birdsai
from fieldsight.datasets.animals import AnimalSet, Frame
from fieldsight.datasets.errors import DataError, DatasetNotFoundError

VIDEO = "0000000041_0000000000"


def write_video(
    part: Path, rows: str, numbers: range | list[int] = range(231, 235), video: str = VIDEO
) -> None:
    """A video of frames of 64 x 48 pixels whose grey is their number, and its table."""
    folder = part / "images" / video
    folder.mkdir(parents=True)
    for number in numbers:
        grey = np.full((48, 64), number % 256, np.uint8)
        Image.fromarray(grey).save(folder / f"{video}_{number:010d}.jpg")
    (part / "annotations").mkdir(exist_ok=True)
    (part / "annotations" / f"{video}.csv").write_text(rows)


def by_index(found: AnimalSet) -> dict[int, Frame]:
    return {frame.index: frame for frame in found.frames}


def test_columns_are_those_of_the_publication(tmp_path: Path) -> None:
    # W-2: frame, object, x, y, w, h, class, species, occluded, noisy; no header.
    rows = "231,7,10,20,5,6,0,1,0,0\n231,8,30,30,4,4,1,0,1,1\n233,7,11,21,5,6,0,1,0,1\n"
    write_video(tmp_path / "TrainReal", rows)
    found = animals.load(tmp_path)
    assert (found.kind, found.classes) == ("birdsai", ("human", "elephant"))
    assert found.people == {"human"}
    frame = by_index(found)[231]
    assert frame.name == f"TrainReal/images/{VIDEO}/{VIDEO}_0000000231.jpg"
    assert frame.boxes.tolist() == [[10, 20, 15, 26], [30, 30, 34, 34]]
    assert frame.boxes.dtype == np.float32
    assert [found.classes[label] for label in frame.labels] == ["elephant", "human"]
    assert frame.tracks.tolist() == [7, 8]
    assert frame.occluded.tolist() == [False, True]
    assert frame.noisy.tolist() == [False, True]
    assert by_index(found)[233].noisy.tolist() == [True]
    assert not found.simulated
    assert found.failures == {}


@pytest.mark.parametrize(
    ("species", "name"),
    [(0, "human"), (1, "elephant"), (2, "lion"), (3, "giraffe"), (4, "dog"), (5, "crocodile"),
     (6, "hippo"), (7, "zebra"), (8, "rhino")],
)  # fmt: skip
def test_species_have_the_published_numbers(tmp_path: Path, species: int, name: str) -> None:
    write_video(tmp_path / "TestReal", f"231,1,1,1,5,5,{int(species == 0)},{species},0,0\n")
    assert animals.load(tmp_path).classes == (name,)


def test_frames_start_anywhere_and_those_without_rows_are_empty(tmp_path: Path) -> None:
    # W-2, W-3: four frames from 231 on, rows for one of them alone.
    write_video(tmp_path / "TrainReal", "232,1,1,1,5,5,0,1,0,0\n")
    found = by_index(animals.load(tmp_path))
    assert [(index, len(frame.boxes)) for index, frame in found.items()] == [
        (231, 0), (232, 1), (233, 0), (234, 0),
    ]  # fmt: skip
    assert int(found[232].read()[0, 0, 0]) == 232  # the picture of that number, not the second one
    assert found[232].read().shape == (48, 64, 1)


def test_an_empty_table_says_that_all_frames_are_empty(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "")
    found = animals.load(tmp_path)
    assert len(found) == 4
    assert found.classes == ()
    assert all(len(frame.boxes) == 0 for frame in found.frames)


def test_unknown_species_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    # Class 0, an animal of unknown species; class 1, a human whatever the species says.
    write_video(tmp_path / "TrainReal", "231,1,1,2,3,4,0,-1,0,0\n231,2,9,9,5,5,1,-1,0,0\n")
    found = animals.load(tmp_path)
    frame = by_index(found)[231]
    assert frame.ignored.tolist() == [[1, 2, 4, 6]]
    assert frame.boxes.tolist() == [[9, 9, 14, 14]]
    assert found.classes == ("human",)


def test_rows_whose_class_and_species_disagree_are_unknown(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "231,1,1,2,3,4,1,1,0,0\n231,1,9,9,3,4,0,1,0,0\n")
    found = animals.load(tmp_path)
    assert len(by_index(found)[231].ignored) == 1
    assert found.notes == ("1 rows whose class and species disagree are taken for unknown",)


def test_a_species_that_nobody_published_is_told(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "231,1,1,2,3,4,0,12,0,0\n231,2,9,9,3,4,0,1,0,0\n")
    found = animals.load(tmp_path)
    where = f"TrainReal/annotations/{VIDEO}.csv, line 1"
    assert "a species from -1 to 8 was needed. Received: 12" in found.failures[where]
    assert len(by_index(found)[231].ignored) == 1


def test_boxes_over_the_edge_are_cut_there(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "231,1,-3,40,10,20,0,1,0,0\n231,2,60,0,10,5,0,1,0,0\n")
    found = animals.load(tmp_path)
    assert by_index(found)[231].boxes.tolist() == [[0, 40, 7, 48], [60, 0, 64, 5]]
    assert found.notes == ("2 boxes reach over their picture's edge and are cut there",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("231,1,nan,2,3,4,0,1,0,0", "four finite numbers was needed. Received: nan, 2, nan, 6"),
        ("231,1,5,5,inf,4,0,1,0,0", "four finite numbers was needed. Received: 5, 5, inf, 9"),
        ("231,1,5,5,0,4,0,1,0,0", "wider and higher than 0 was needed. Received: 0 x 4 pixels"),
        ("231,1,5,5,3,-4,0,1,0,0", "wider and higher than 0 was needed. Received: 3 x -4 pixels"),
        ("231,1,70,5,3,4,0,1,0,0", "within 64 x 48 pixels was needed. Received: 70, 5, 73, 9"),
        ("231,1,5,5,3,4,0,1", "noisy were needed, numbers all. Received: '231,1,5,5,3,4,0,1' (8"),
        ("231,a,5,5,3,4,0,1,0,0", "numbers all. Received: '231,a,5,5,3,4,0,1,0,0' (could not"),
        ("inf,1,5,5,3,4,0,1,0,0", "numbers all. Received: 'inf,1,5,5,3,4,0,1,0,0' (cannot"),
    ],
)
def test_a_bad_row_is_told_and_the_others_are_taken(tmp_path: Path, row: str, message: str) -> None:
    write_video(tmp_path / "TrainReal", f"231,2,9,9,3,4,0,1,0,0\n{row}\n")
    found = animals.load(tmp_path)
    assert list(found.failures) == [f"TrainReal/annotations/{VIDEO}.csv, line 2"]
    assert message in next(iter(found.failures.values()))
    assert by_index(found)[231].boxes.tolist() == [[9, 9, 12, 13]]


def test_missing_frames_are_noted_and_rows_without_a_picture_told(tmp_path: Path) -> None:
    rows = "231,1,1,1,5,5,0,1,0,0\n232,1,1,1,5,5,0,1,0,0\n240,1,1,1,5,5,0,1,0,0\n"
    write_video(tmp_path / "TrainReal", rows, [231, 234, 235])
    found = animals.load(tmp_path)
    assert sorted(by_index(found)) == [231, 234, 235]
    assert found.notes == (f"TrainReal/{VIDEO}: 2 frames are missing between 231 and 235",)
    told = found.failures[f"TrainReal/annotations/{VIDEO}.csv"]
    assert "Received: none for 2 of 3 frames with rows: 232, 240" in told


def test_rows_of_which_none_fits_a_picture_leave_the_video_out(tmp_path: Path) -> None:
    # Else all of its frames would be taken for empty.
    write_video(tmp_path / "TrainReal", "0,1,1,1,5,5,0,1,0,0\n1,1,1,1,5,5,0,1,0,0\n")
    with pytest.raises(DataError, match=r"frames with rows were needed.*none for 2 of 2 frames"):
        animals.load(tmp_path)


def test_videos_without_table_and_tables_without_video_are_told(tmp_path: Path) -> None:
    part = tmp_path / "TrainReal"
    write_video(part, "231,1,1,1,5,5,0,1,0,0\n")
    (part / "annotations" / "b.csv").write_text("0,1,1,1,5,5,0,1,0,0\n")
    (part / "images" / "c").mkdir()
    found = animals.load(part)
    assert len(found) == 4
    assert "Received: no folder images/b" in found.failures["annotations/b.csv"]
    assert "Received: no annotations/c.csv" in found.failures["images/c"]


def test_broken_frames_are_told_and_the_flight_goes_on(tmp_path: Path) -> None:
    part = tmp_path / "TrainReal"
    write_video(part, "233,1,1,1,5,5,0,1,0,0\n")
    first = part / "images" / VIDEO / f"{VIDEO}_0000000231.jpg"
    first.write_bytes(b"no picture")
    (part / "images" / VIDEO / f"{VIDEO}_0000000232.jpg").write_bytes(b"")
    torn = part / "images" / VIDEO / f"{VIDEO}_0000000233.jpg"
    torn.write_bytes(torn.read_bytes()[:-20])
    found = animals.load(part)
    assert len(found.failures) == 2  # what is no JPEG, and what is empty
    assert sorted(by_index(found)) == [233, 234]
    with pytest.raises(DataError, match="damaged"):
        by_index(found)[233].read()
    assert by_index(found)[234].read().shape == (48, 64, 1)


def test_a_frame_of_another_size_than_its_video_is_told_when_it_is_read(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "")
    odd = tmp_path / "TrainReal" / "images" / VIDEO / f"{VIDEO}_0000000234.jpg"
    Image.new("L", (32, 20)).save(odd)
    with pytest.raises(DataError, match=r"64 x 48 pixels were needed.*Received: 32 x 20"):
        by_index(animals.load(tmp_path))[234].read()


def test_parts_have_their_side_and_the_simulated_part_says_so(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "231,1,1,1,5,5,0,1,0,0\n", video="a")
    write_video(tmp_path / "TestReal", "231,1,1,1,5,5,1,0,0,0\n", video="a")
    write_video(tmp_path / "TrainSimulation", "231,1,1,1,5,5,0,3,0,0\n", video="s")
    found = animals.load(tmp_path)
    assert found.split is not None
    sides = {frame.group: found.split[frame.name] for frame in found.frames}
    # One name in two parts is two videos.
    assert sides == {"TrainReal/a": "train", "TestReal/a": "test", "TrainSimulation/s": "train"}
    assert {frame.group: frame.simulated for frame in found.frames} == {
        "TrainReal/a": False, "TestReal/a": False, "TrainSimulation/s": True,
    }  # fmt: skip
    assert not found.simulated
    assert found.classes == ("human", "elephant", "giraffe")


def test_the_published_split_keeps_videos_whole(tmp_path: Path) -> None:
    # W-1, C-6: validation is cut from the training videos, the test part is scored.
    for number in range(5):
        write_video(tmp_path / "TrainReal", "231,1,1,1,5,5,0,1,0,0\n", video=f"v{number}")
    write_video(tmp_path / "TestReal", "231,1,1,1,5,5,0,1,0,0\n", video="t")
    found = animals.load(tmp_path)
    split = found.divided(seed=3)
    groups = [set(found.groups[side]) for side in (split.train, split.val, split.test)]
    assert groups[2] == {"TestReal/t"}
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 5
    assert groups[1]


def test_what_a_manifest_calls_simulated_is(tmp_path: Path) -> None:
    write_video(tmp_path / "TrainReal", "231,1,1,1,5,5,0,9,0,0\n")
    (tmp_path / "SIMULATED.json").write_text('{"seed": 0}')
    found = animals.load(tmp_path)
    assert found.simulated
    assert found.vehicles == {"vehicle"}


def test_the_fingerprint_knows_boxes(tmp_path: Path) -> None:
    write_video(tmp_path / "a" / "TrainReal", "231,1,1,1,5,5,0,1,0,0\n")
    write_video(tmp_path / "b" / "TrainReal", "231,1,1,1,5,6,0,1,0,0\n")
    write_video(tmp_path / "c" / "TrainReal", "231,1,1,1,5,5,0,1,0,0\n")
    prints = [animals.load(tmp_path / each).fingerprint for each in "abc"]
    assert prints[0] == prints[2]
    assert prints[0] != prints[1]


def test_a_folder_without_parts_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="TrainReal or TestReal"):
        birdsai.load(tmp_path)
