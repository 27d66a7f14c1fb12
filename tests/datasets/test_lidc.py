"""LIDC-IDRI: readers' outlines to nodules, on a series and XML that the test writes."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fieldsight.datasets import _lidc_readings, lidc, nodules
from fieldsight.datasets.errors import DatasetNotFoundError
from fieldsight.datasets.volume import Volume

SERIES = "1.3.6.1.4.1.14519.5.2.1.6279.6001.1"
ORIGIN, SPACING = (-40.0, -50.0, -100.0), (2.5, 0.5, 0.5)  # z, y, x
SHAPE = (8, 40, 40)
Outline = tuple[int, int, int, int]  # top, left, bottom, right: the frame around what it outlines


def ring(outline: Outline) -> list[tuple[int, int]]:
    """A frame's pixels one after the other, as an edge map goes round."""
    top, left, bottom, right = outline
    return (
        [(top, x) for x in range(left, right)]
        + [(y, right) for y in range(top, bottom)]
        + [(bottom, x) for x in range(right, left, -1)]
        + [(y, left) for y in range(bottom, top, -1)]
    )


def roi(plane: int, points: Sequence[tuple[int, int]], inclusion: str = "TRUE") -> str:
    edges = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for y, x in points
    )
    z = ORIGIN[2] + SPACING[0] * plane
    return (
        f"<roi><imageZposition>{z:.6f} </imageZposition><imageSOP_UID>{SERIES}.{plane + 1}"
        f"</imageSOP_UID><inclusion>{inclusion}</inclusion>{edges}</roi>"
    )


def nodule(*rois: str, malignancy: int = 0, texture: int = 5) -> str:
    said = (
        f"<characteristics><subtlety>5</subtlety><malignancy>{malignancy}</malignancy>"
        f"<texture>{texture}</texture></characteristics>"
        if malignancy
        else ""
    )
    return f"<unblindedReadNodule><noduleID>1</noduleID>{said}{''.join(rois)}</unblindedReadNodule>"


def message(*sessions: str, uid: str = SERIES) -> str:
    """As LIDC's files are, in their namespace."""
    read = "".join(
        "<readingSession><annotationVersion>3.12</annotationVersion>"
        f"<servicingRadiologistID>{number}</servicingRadiologistID>{session}</readingSession>"
        for number, session in enumerate(sessions)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage uid="1.3.1" '
        'xmlns="http://www.nih.gov" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<ResponseHeader><Version>1.8.1</Version><SeriesInstanceUid>{uid}</SeriesInstanceUid>"
        f"</ResponseHeader>{read}</LidcReadMessage>"
    )


def box(outline: Outline, planes: Sequence[int], malignancy: int, texture: int = 5) -> str:
    rois = [roi(plane, ring(outline)) for plane in planes]
    return nodule(*rois, malignancy=malignancy, texture=texture)


@pytest.fixture
def folder(tmp_path: Path, lung: ModuleType) -> Path:
    """One patient's series in TCIA's folders, without XML."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, SPACING[2]], [0, SPACING[1], 0], [SPACING[0], 0, 0]])
    affine[:3, 3] = ORIGIN
    place = tmp_path / "LIDC-IDRI-0001" / "1.3.2" / "3000566.000000-03192"
    volume = Volume(np.full(SHAPE, -800, np.int16), affine)
    lung.write_dicom(place, volume, series_uid=SERIES, patient="LIDC-IDRI-0001")
    return tmp_path


def write(folder: Path, text: str, name: str = "069.xml") -> None:
    (folder / "LIDC-XML-only" / "157").mkdir(parents=True, exist_ok=True)
    (folder / "LIDC-XML-only" / "157" / name).write_text(text)


def outlined(points: Sequence[tuple[int, int]], inclusion: bool = True) -> _lidc_readings.Contour:
    return _lidc_readings.Contour(0.0, np.array(points), inclusion)


def test_the_outline_itself_is_outside_the_nodule() -> None:
    # A frame of 5x5 pixels surrounds 3x3: LIDC's edge maps are outside by one pixel.
    pixels = outlined(ring((10, 20, 14, 24))).pixels()
    assert sorted(map(tuple, pixels.tolist())) == [
        (row, column) for row in (11, 12, 13) for column in (21, 22, 23)
    ]


def test_gaps_in_an_outline_are_joined() -> None:
    corners = [(10, 20), (10, 24), (14, 24), (14, 20)]
    np.testing.assert_array_equal(
        outlined(corners).pixels(), outlined(ring((10, 20, 14, 24))).pixels()
    )


def test_a_line_surrounds_nothing() -> None:
    assert len(outlined([(3, 3), (3, 4), (3, 5)]).pixels()) == 0
    assert len(outlined([(3, 3)]).pixels()) == 0


def test_holes_are_taken_out_wherever_they_stand() -> None:
    outer, hole = outlined(ring((0, 0, 8, 8))), outlined(ring((2, 2, 6, 6)), inclusion=False)
    pixels, z = _lidc_readings.Reading(0, (hole, outer), {}).voxels()
    # 7x7 less 3x3.
    assert len(pixels) == len(z) == 40
    assert [4, 4] not in pixels.tolist()
    assert [2, 2] in pixels.tolist()


def test_three_of_four_readers_make_a_nodule(folder: Path) -> None:  # L-11
    # Three outline 3x3 pixels in two planes, one of them a column further right.
    same, beside = (10, 20, 14, 24), (10, 21, 14, 25)
    write(
        folder,
        message(box(same, (3, 4), 4), box(same, (3, 4), 3, 3), box(beside, (3, 4), 5), ""),
    )
    found = nodules.load(folder)
    assert found.name == "lidc"
    (scan,) = found.scans
    assert (scan.group, scan.series_uid, scan.excluded) == ("LIDC-IDRI-0001", SERIES, ())
    (one,) = scan.nodules
    # 18 voxels of 0.5 x 0.5 x 2.5 mm: the ball of 11.25 mm3.
    assert one.diameter_mm == pytest.approx((6 * 18 * 0.625 / np.pi) ** (1 / 3))
    # Columns 22, 22, 23, row 12, planes 3 and 4.
    expected = (-40 + 0.5 * 67 / 3, -50 + 0.5 * 12, -100 + 2.5 * 3.5)
    assert one.centre_mm == pytest.approx(expected)
    assert (one.malignancy, one.suspicious, one.readers, one.kind) == (4.0, True, 3, "solid")


def test_fewer_readers_are_excluded_unless_fewer_are_asked_for(folder: Path) -> None:  # L-11
    same = (10, 20, 14, 24)
    write(folder, message(box(same, (3, 4), 2), box(same, (3, 4), 4), "", ""))
    (scan,) = lidc.load(folder).scans
    assert (len(scan.nodules), len(scan.excluded)) == (0, 1)
    (scan,) = lidc.load(folder, at_least=2).scans
    (one,) = scan.nodules
    assert (one.malignancy, one.suspicious, one.readers) == (3.0, None, 2)


@pytest.mark.parametrize("at_least", [0, 5])
def test_readers_are_one_to_four(folder: Path, at_least: int) -> None:
    with pytest.raises(ValueError, match="1 to 4 readers"):
        lidc.load(folder, at_least=at_least)


def test_one_readers_two_nodules_stay_two(folder: Path) -> None:
    # Readers 1 to 3 see one nodule of two lobes; reader 0 outlines each lobe by itself.
    left, right, both = (10, 10, 16, 16), (10, 16, 16, 22), (10, 10, 16, 22)
    planes = (2, 3, 4)
    write(
        folder,
        message(
            box(left, planes, 1) + box(right, planes, 1),
            *(box(both, planes, 1) for _ in range(3)),
        ),
    )
    (scan,) = lidc.load(folder).scans
    assert [one.readers for one in scan.nodules] == [4]
    assert [one.readers for one in scan.excluded] == [1]


def test_neighbours_are_not_one_nodule(folder: Path) -> None:
    first, second = (4, 4, 8, 8), (20, 20, 24, 24)
    session = box(first, (2, 3), 2) + box(second, (2, 3), 4)
    write(folder, message(session, session, session, session))
    (scan,) = lidc.load(folder).scans
    assert [(one.malignancy, one.readers) for one in scan.nodules] == [(2.0, 4), (4.0, 4)]


def test_small_nodules_and_other_marks_are_excluded(folder: Path) -> None:  # L-12
    point = nodule(roi(3, [(30, 8)]))
    other = (
        "<nonNodule><nonNoduleID>9</nonNoduleID><imageZposition>-95.0</imageZposition>"
        f"<imageSOP_UID>{SERIES}.3</imageSOP_UID><locus><xCoord>12</xCoord><yCoord>6</yCoord>"
        "</locus></nonNodule>"
    )
    write(folder, message(point + other, "", "", ""))
    (scan,) = lidc.load(folder).scans
    assert scan.nodules == ()
    assert [one.centre_mm for one in scan.excluded] == [
        (-36.0, -35.0, -92.5),
        (-34.0, -47.0, -95.0),
    ]
    assert [one.diameter_mm for one in scan.excluded] == [10.0, 10.0]


def test_the_mask_is_what_half_of_the_readers_outlined(folder: Path) -> None:
    same, beside = (10, 20, 14, 24), (10, 21, 14, 25)
    write(
        folder,
        message(
            box(same, (3, 4), 4), box(same, (3, 4), 4), box(beside, (3, 4), 4),
            box(beside, (3, 4), 4),
        ),
    )  # fmt: skip
    (scan,) = lidc.load(folder).scans
    labels = scan.read_masks()
    assert labels is not None
    assert labels.shape == SHAPE
    # Half of four drew each of columns 21 to 24.
    expected = np.zeros(SHAPE, np.uint8)
    expected[3:5, 11:14, 21:25] = 1
    np.testing.assert_array_equal(labels, expected)


def test_a_step_is_read_from_the_slices_where_all_is_in_one_plane(folder: Path) -> None:
    same = (10, 20, 14, 24)
    write(folder, message(*(box(same, (3,), 4) for _ in range(3))))
    (one,) = lidc.load(folder).scans[0].nodules
    assert one.diameter_mm == pytest.approx((6 * 9 * 0.25 * 2.5 / np.pi) ** (1 / 3))


def test_what_cannot_be_used_is_recorded_and_the_rest_goes_on(  # C-11
    folder: Path, lung: ModuleType
) -> None:
    lung.write_dicom(folder / "LIDC-IDRI-0002" / "a", lung.small(), series_uid="1.9")
    write(folder, message(box((4, 4, 8, 8), (2, 3), 3)))
    write(folder, "<LidcReadMessage><ResponseHeader>", "cut.xml")
    write(folder, message(nodule("<roi><imageZposition>high</imageZposition></roi>")), "bad.xml")
    write(folder, "<IdriReadMessage/>", "radiograph.xml")
    write(folder, message("", uid="1.77"), "absent.xml")
    write(folder, message("", ""), "second.xml")
    found = lidc.load(folder)
    assert len(found) == 1
    assert sorted(Path(name).name for name in found.failures) == ["a", "bad.xml", "cut.xml"]
    assert found.notes == (
        "second.xml: a second XML of one series, which differs, is left out",
        "1 XML files are of scans that aren't there",
    )


def test_entities_are_not_expanded(folder: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    write(folder, message(box((4, 4, 8, 8), (2, 3), 3)))
    write(folder, bomb, "bomb.xml")
    (failure,) = lidc.load(folder).failures.values()
    assert "readers' marks as LIDC-IDRI's XML were needed" in failure


def test_slices_that_are_not_axial_are_refused(folder: Path, lung: ModuleType) -> None:
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = 1, 1, 1, 1
    volume = Volume(np.zeros((3, 4, 4), np.int16), affine)
    lung.write_dicom(folder / "LIDC-IDRI-0003", volume, series_uid="1.10")
    write(folder, message(box((4, 4, 8, 8), (2, 3), 3)))
    write(folder, message("", uid="1.10"), "sagittal.xml")
    assert "axial slices were needed" in lidc.load(folder).failures["LIDC-IDRI-0003"]


def test_nothing_says_what_to_do(folder: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="Download LIDC-XML-only"):
        lidc.load(folder)
    write(folder, message("", uid="1.77"))
    with pytest.raises(DatasetNotFoundError, match="Unpack the DICOM folders"):
        lidc.load(folder)
