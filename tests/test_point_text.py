"""Point files of text as programs of many countries write them: each holds the same points."""

import codecs

import numpy as np
import pytest

from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.signals.cloud import load_surface
from winner_nerfstudio.signals.cloud.reading import read_points
from winner_nerfstudio.signals.errors import SignalError

from .clouds import ball

POINTS, NORMALS = (rows.round(4) for rows in ball(300, 2.0, (10.0, -20.0, 30.0)))
COLORS = np.random.default_rng(0).integers(0, 256, (300, 3))


def rows(*columns, mark=" ", form="{:.4f}", decimal=".", end="\n", behind=""):
    table = np.concatenate([np.asarray(part, float).reshape(300, -1) for part in columns], 1)
    lines = [mark.join(form.format(value).replace(".", decimal) for value in row) + behind for row in table]
    return end.join(lines) + end


def counted(text):
    return f"300\n{text}"


PLAIN = rows(POINTS, NORMALS)
FORTRAN = rows(POINTS, NORMALS, form="{:.6e}").replace("e", "D")
SCAN = "".join(f"{line}\n{'nan nan nan ' * 2}\n" for line in PLAIN.splitlines())
SHUFFLED = rows(NORMALS[:, 2], POINTS[:, [1, 0]], COLORS, NORMALS[:, :2], POINTS[:, 2], mark=",")
PANDAS = "".join(f"{index},{line}\n" for index, line in enumerate(rows(POINTS, NORMALS, mark=",").splitlines()))
QUOTED = "".join(f'"{line}"\n' for line in rows(POINTS, NORMALS, mark='","').splitlines())
GERMAN = "".join(f'"{line}"\n' for line in rows(POINTS, NORMALS, mark='","', decimal=",").splitlines())
PARAVIEW = '"Normals:0","Normals:1","Normals:2","Points:0","Points:1","Points:2"'
WRITTEN = {
    "line-of-units.csv": "x,y,z,nx,ny,nz\nm,m,m,,,\n" + rows(POINTS, NORMALS, mark=","),
    "trailing-names.csv": "x,y,z,nx,ny,nz,\n" + rows(POINTS, NORMALS, mark=",", behind=","),
    "typographic.txt": PLAIN.replace("-", "\u2212").replace(" ", "\u00a0").encode(),
    "utf8.xyz": codecs.BOM_UTF8 + PLAIN.encode(),
    "utf16.txt": PLAIN.encode("utf-16"),
    "utf16-be.txt": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "utf16-bare.txt": PLAIN.encode("utf-16-le"),
    "header.xyz": f"x y z nx ny nz\n{PLAIN}",
    "commented-header.asc": f"//X Y Z Nx Ny Nz\n{PLAIN}",
    "counted-header.asc": f"//X Y Z Nx Ny Nz\n{counted(PLAIN)}",
    "hash.xyz": f"# a scan\n{PLAIN}# the end\n",
    "slashes.xyz": f"// a scan, 3 parts\n{PLAIN}",
    "percent.xyz": f"% 1 2 3\n{PLAIN}",
    "semicolon.xyz": f"; written in 2024\n{PLAIN}",
    "behind.xyz": PLAIN.replace("\n", "  # a point\n"),
    "latin.xyz": b"# \xdcbersicht der Fl\xe4che\n" + PLAIN.encode(),
    "blank.xyz": f"\n\n{PLAIN}".replace("\n", "\n\n   \n"),
    "cr.xyz": rows(POINTS, NORMALS, end="\r"),
    "crlf.xyz": rows(POINTS, NORMALS, end="\r\n"),
    "no-end.xyz": PLAIN.rstrip(),
    "zero-byte.xyz": PLAIN.encode() + b"\0\x1a",
    "tabs.txt": rows(POINTS, NORMALS, mark="\t"),
    "semicolons.csv": rows(POINTS, NORMALS, mark=";"),
    "comma-spaces.csv": rows(POINTS, NORMALS, mark=", "),
    "bars.txt": rows(POINTS, NORMALS, mark=" | "),
    "groups.txt": "".join("{},{},{} {},{},{}\n".format(*line.split()) for line in PLAIN.splitlines()),
    "aligned.asc": rows(POINTS, NORMALS, form="{:14.4f}"),
    "trailing-space.xyz": rows(POINTS, NORMALS, behind="  "),
    "trailing-comma.csv": rows(POINTS, NORMALS, mark=",", behind=","),
    "trailing-semicolon.csv": rows(POINTS, NORMALS, mark=";", behind=";"),
    "decimal-comma-semicolons.csv": rows(POINTS, NORMALS, mark=";", decimal=","),
    "decimal-comma-tabs.txt": rows(POINTS, NORMALS, mark="\t", decimal=","),
    "decimal-comma-spaces.txt": rows(POINTS, NORMALS, decimal=","),
    "decimal-comma-header.csv": f"x;y;z;nx;ny;nz\n{rows(POINTS, NORMALS, mark=';', decimal=',')}",
    "quoted.csv": QUOTED,
    "quoted-header.csv": f'"x","y","z","nx","ny","nz"\n{QUOTED}',
    "quoted-decimal-comma.csv": GERMAN,
    "fortran.xyz": FORTRAN,
    "small-fortran.xyz": FORTRAN.lower(),
    "plus.xyz": rows(POINTS, NORMALS, form="{:+.4f}"),
    "exponents.csv": rows(POINTS, NORMALS, form="{:.6E}", mark=","),
    "counted.pts": counted(PLAIN),
    "counted-twice.pts": "150\n"
    + "".join(PLAIN.splitlines(True)[:150])
    + "150\n"
    + "".join(PLAIN.splitlines(True)[150:]),
    "shuffled.csv": f"nz,y,x,red,green,blue,nx,ny,z\n{SHUFFLED}",
    "units.csv": f"X [m],Y [m],Z [m],Nx,Ny,Nz\n{rows(POINTS, NORMALS, mark=',')}",
    "paraview.csv": f"{PARAVIEW}\n{rows(NORMALS, POINTS, mark=',')}",
    "pandas.csv": f",x,y,z,nx,ny,nz\n{PANDAS}",
    "intensity.txt": f"x y z intensity nx ny nz\n{rows(POINTS, COLORS[:, 0], NORMALS)}",
    "colors-first.txt": rows(POINTS, COLORS, NORMALS),
    "colors-last.txt": rows(POINTS, NORMALS, COLORS),
    "normals.xyzn": PLAIN,
    "nan.xyz": SCAN,
    "na.csv": rows(POINTS, NORMALS, mark=",") + "NA,NA,NA,NA,NA,NA\n,,,,,\n",
    "visual-c.xyz": PLAIN + "1.#QNAN 1.#QNAN -1.#IND 0 0 1\n",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_points_are_read_however_they_are_written(tmp_path, name):
    content = WRITTEN[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    columns = read_points(tmp_path / name)
    np.testing.assert_allclose(columns.points, POINTS, atol=1e-9)
    np.testing.assert_allclose(columns.normals, NORMALS, atol=1e-9)
    assert kind_of(tmp_path / name).name == "sdf"


BARE = {
    "plain.txt": rows(POINTS),
    "thousands.csv": rows(1000 * POINTS, form="{:,.4f}", mark=";"),
    "thousands-quoted.csv": "".join(f'"{x}"\n' for x in rows(1000 * POINTS, form="{:,.4f}", mark='","').splitlines()),
    "thousands-points.csv": "".join(
        f"{x}\n"
        for x in rows(1000 * POINTS, form="{:,.4f}", mark=";").translate(str.maketrans(",.", ".,")).splitlines()
    ),
    "intensity.pts": counted(rows(POINTS, COLORS[:, 0])),
    "colours.pts": counted(rows(POINTS, COLORS[:, 0] - 99, COLORS)),
    "colours.xyzrgb": rows(POINTS, COLORS / 255),
    "colours.xyz": "".join(
        f"{a} {b}\n" for a, b in zip(rows(POINTS).splitlines(), rows(COLORS, form="{:.0f}").splitlines(), strict=True)
    ),
}


@pytest.mark.parametrize("name", BARE)
def test_columns_that_are_no_normals_are_not_taken_for_them(tmp_path, name):
    (tmp_path / name).write_text(BARE[name])
    columns = read_points(tmp_path / name)
    np.testing.assert_allclose(columns.points, POINTS * (1000 if "thousands" in name else 1), atol=1e-6)
    assert columns.normals is None
    if "intensity" in name or "colours" in name:
        told = (
            "x y z intensity r g b"
            if name == "colours.pts"
            else "x y z " + ("intensity" if "inten" in name else "r g b")
        )
        assert columns.notes == (f"columns: {told}",)


FEW = [[1.5, 2, 3], [1.5, 2, 1234.5], [1, 2, 3], [4, 5, 6], [7, 8, 3000], [7, 8, 9]]
MARKED = {
    "mixed.csv": ("1,05;2,25;0.75\n2,5;3,5;4,5\n", [[1.05, 2.25, 0.75], [2.5, 3.5, 4.5]]),
    "german.csv": ("5.432.100,25;123,5;7\n1,5;5.432.101;1.234\n", [[5432100.25, 123.5, 7], [1.5, 5432101, 1234]]),
    "english.csv": ("1,234.5;2,000;3\n1.5;12,345,678;0.5\n", [[1234.5, 2000, 3], [1.5, 12345678, 0.5]]),
    "few.xyz": ("1.5 2 3\n1.5 2 1,234.5\n1, 2, 3\n4 5 6\n7 8 3,000\n7 8 9\n", FEW),
}


@pytest.mark.parametrize("name", MARKED)
def test_each_number_keeps_its_own_decimal_mark(tmp_path, name):
    text, expected = MARKED[name]
    (tmp_path / name).write_text(text)
    np.testing.assert_array_equal(read_points(tmp_path / name).points, expected)


@pytest.mark.parametrize("head", ["x,y,z,height", "X [m],Y,Z,Elevation", "x,y,z,Easting"])
@pytest.mark.parametrize("last", ["12", "wall"])
def test_of_two_columns_for_one_coordinate_the_one_with_its_plain_name_counts(tmp_path, head, last):
    (tmp_path / "a.csv").write_text(f"{head}\n{rows(POINTS, mark=',', behind=',' + last)}")
    columns = read_points(tmp_path / "a.csv")
    np.testing.assert_array_equal(columns.points, POINTS)
    assert columns.normals is None


def labelled(head, form, labels=("wall", "floor"), mark=","):
    lines = (form.format(*row, labels[index % len(labels)]) for index, row in enumerate(POINTS.tolist()))
    return "\n".join([head, *(line.replace(",", mark) for line in lines)]) + "\n"


TEXTS = {
    "last.csv": labelled("x,y,z,label", "{},{},{},{}"),
    "blank-in-some.csv": labelled("x,y,z,label", "{},{},{},{}", ("wall", "", "old wall")),
    "late.csv": labelled("x,y,z,label", "{},{},{},{}", ("",) * 299 + ("wall",)),
    "blank.csv": labelled("x,y,z,label", "{},{},{},{}", ("",)),
    "middle.csv": labelled("x,y,label,z,count", "{0},{1},{3},{2},12", ("ground", "")),
    "time.csv": labelled("time,x,y,z", "{3},{0},{1},{2}", ("2024-05-01T10:00:00.5Z",)),
    "time-with-space.csv": labelled("time,x,y,z", "{3},{0},{1},{2}", ("2024-05-01 10:00:00",)),
    "quoted.csv": labelled("x,y,z,label", '{},{},{},"{}"', ("old, wall",)),
    "tabs.txt": labelled("x,y,z,label", "{},{},{},{}", ("old wall", ""), "\t").replace("x,y,z,label", "x\ty\tz\tlabel"),
    "semicolons.csv": labelled("x;y;z;label", "{},{},{},{}", mark=";"),
    "german.csv": labelled("x;y;label;z", "{0};{1};{3};{2}").replace(".", ","),
    "spaces.xyz": labelled("x y z label", "{} {} {} {}", ("wall", "old wall", "")),
    "units.csv": labelled("x,y,z,label\nm,m,m,", "{},{},{},{}"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_columns_of_text_are_left_out_where_a_line_names_the_columns(tmp_path, name):
    (tmp_path / name).write_text(TEXTS[name])
    columns = read_points(tmp_path / name)
    np.testing.assert_allclose(columns.points, POINTS, atol=1e-9)
    assert any(note.startswith("columns left out: ") for note in columns.notes)
    assert not any("commas and spaces" in note for note in columns.notes)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_decimal_commas_of_few_lines_are_read_where_something_else_separates(tmp_path, mark):
    points = np.arange(300.0).reshape(100, 3)
    points[[0, 50, 99], [0, 1, 2]] += 0.25
    lines = (mark.join(f"{value:g}".replace(".", ",") for value in row) for row in points)
    (tmp_path / "a.csv").write_text("\n".join([mark.join("xyz"), *lines]))
    columns = read_points(tmp_path / "a.csv")
    np.testing.assert_array_equal(columns.points, points)
    assert any("decimal commas" in note for note in columns.notes)


def test_what_was_taken_as_what_is_told(tmp_path):
    (tmp_path / "a.csv").write_text(WRITTEN["shuffled.csv"])
    (tmp_path / "b.txt").write_text(WRITTEN["decimal-comma-tabs.txt"])
    (tmp_path / "c.xyz").write_text(SCAN)
    assert "columns: nz y x red green blue nx ny z" in load_surface(tmp_path / "a.csv").describe()
    assert "numbers have decimal commas" in load_surface(tmp_path / "b.txt").describe()
    assert "repaired: dropped 300 points without coordinates" in load_surface(tmp_path / "c.xyz").describe()


LINES = PLAIN.splitlines(True)
REFUSED = {
    "short.xyz": ("".join(LINES[:99]) + "1 2 3\n" + "".join(LINES[99:]), "line 100 has 3 columns, the others have 6"),
    "cut.csv": (rows(POINTS, mark=",")[:-12], "line 300 has"),
    "word.xyz": ("".join(LINES[:41]) + "1 2 3 4 5 six\n" + "".join(LINES[41:]), "line 42: 'six' is no number"),
    "underscore.xyz": (rows(POINTS, form="{:_.4f}") + "1_000 2 3\n", "line 301: '1_000' is no number"),
    "hexadecimal.xyz": (rows(POINTS) + "0x10 2 3\n", "line 301: '0x10' is no number"),
    "molecule.xyz": ("3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n", "is no number"),
    "count.pts": (f"301\n{PLAIN}", "line 1 says that 301 points follow, but there are 300"),
    "fewer.pts": (f"200\n{PLAIN}", "line 1 says that 200 points follow, but there are 300"),
    "ambiguous.csv": (rows(np.ones((300, 3)) * 1234, form="{:,.0f}", mark=";"), "1,234 may be 1.234 or 1234"),
    "ambiguous.txt": (rows(np.ones((300, 3)) * 1234, form="{:,.0f}", mark="\t"), "line 300: 1,234 may be"),
    "mixed.csv": ("1,5;2,5;3,5\n1,5;2,5;1.234\n", "line 2: 1.234 may be 1.234 or 1234; write decimal points"),
    "mixed-used.csv": ("x;y;z;label\n1,5;2,5;3,5;a\n1,5;2,5;1.234;b\n", "line 3: 1.234 may be 1.234 or 1234"),
    "one-comma.xyz": (f"{rows(POINTS)}1.5 2.5 1,234\n", "line 301: 1,234 may be 1.234 or 1234"),
    "comma.xyz": (f"{rows(POINTS)}1.5 2.5 0,75\n", "line 301: '0,75' is no number"),
    "both.csv": ("1,234.5;2,5;3,5\n1,5;2,5;3,5\n", "line 1: '2,5' is no number"),
    "angles.csv": (f"lon,lat,alt\n{rows(POINTS, mark=',')}", "named lon lat alt, 3 names of 3 columns; x, y and z"),
    "names.csv": (f"x,y,z\n{rows(POINTS, COLORS, mark=',')}", "3 names of 6 columns"),
    "doubled.csv": (f"x,y,z,x\n{rows(POINTS, COLORS[:, 0], mark=',')}", "columns x and x are each taken for x"),
    "twice.csv": (f"east,Easting [m],y,z\n{rows(POINTS, COLORS[:, 0], mark=',')}", "columns east and Easting [m] are"),
    "eight.txt": (rows(POINTS, COLORS, COLORS[:, :2]), "8 columns; x y z, or x y z nx ny nz, are needed"),
    "grid.asc": ("ncols 4\nnrows 3\nxllcorner 0\n1 2 3 4\n5 6 7 8\n9 1 2 3\n", "grid.asc: "),
    "binary.txt": (bytes(range(256)) * 20, "binary.txt: "),
    "comments.txt": ("# only\n# comments\n", "holds no points"),
    "label.csv": (labelled("", "{},{},{},{}").lstrip(), "line 1: 'wall' is no number (column 4)"),
    "words.csv": (
        labelled("x,y,z,label", "{},{},{},{}").replace("\n", "\n5,,oops,wall\n", 1),
        "line 2: 'oops' in the column z",
    ),
    "cut-label.csv": (labelled("x,y,z,label", "{},{},{},{}") + "1,2", "line 302 has 2 columns, of which 4 are named"),
    "moved.csv": (
        labelled("label,x,y,z", "{3},{0},{1},{2}", ("a", "b,c")),
        "line 3 has 5 columns, of which 4 are named",
    ),
    "partly.xyz": (rows(POINTS) + "1 nan 3\n", "1 of 301 points are NaN"),
}


def test_a_line_of_units_is_told_and_a_broken_first_row_is_none(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\nm,m,m\n" + rows(POINTS, mark=","))
    assert "line 2, between the names and the numbers, is left out: m,m,m" in read_points(tmp_path / "a.csv").notes
    (tmp_path / "b.csv").write_text("x,y,z\n1.5,2.5,oops\n" + rows(POINTS, mark=","))
    with pytest.raises(SignalError, match=r"b\.csv"):
        read_points(tmp_path / "b.csv")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_understood_is_refused_with_its_line(tmp_path, name):
    content, words = REFUSED[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SignalError) as caught:
        load_surface(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_oversized_text_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("winner_nerfstudio.signals.cloud.text.LARGEST", 1000)
    (tmp_path / "a.xyz").write_text(PLAIN)
    with pytest.raises(SignalError, match=r"bytes of text are more than 1,000; write the points as \.ply or \.npy"):
        load_surface(tmp_path / "a.xyz")
