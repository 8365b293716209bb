"""Every release format gives the same canonical log, and faults are named by file, column and value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from data.sources.movielens import MovieLensSource
from data.sources.schema import DataError
from data.sources.source import RawLog
from data.sources.survey import survey

needs_ray = pytest.mark.usefixtures("ray_session")
Written = Callable[..., Path]
Rows = Callable[[RawLog], list[dict[str, Any]]]
RATINGS = "userId,movieId,rating,timestamp\n"


@needs_ray
def test_movielens_dat_folder(written: Written, rows: Rows) -> None:
    files = {
        "ratings.dat.gz": "1::0007::5::0\n1::9::3.5::978302109\n2::0007::4::978301968\n",
        "movies.dat": "0007::Star: Part IV (1977)::Action|Sci-Fi\n9::Misérables, Les (1995)::\n10::No Year::Drama\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    }
    log = MovieLensSource(path=str(written(files, "latin-1"))).read()
    found = rows(log)
    assert [(r["user_id"], r["item_id"], r["time"], r["weight"]) for r in found][:2] == [
        ("1", "0007", 0, 5.0),
        ("1", "9", 978302109, 3.5),
    ]
    assert [r["position"] for r in found] == [0, 1, 2]
    assert log.items is not None and log.users is not None
    assert log.items.select(["item_id", "title", "year", "genres"]).to_pylist() == [
        {"item_id": "0007", "title": "Star: Part IV (1977)", "year": 1977.0, "genres": ["Action", "Sci-Fi"]},
        {"item_id": "9", "title": "Misérables, Les (1995)", "year": 1995.0, "genres": []},
        {"item_id": "10", "title": "No Year", "year": None, "genres": ["Drama"]},
    ]
    assert log.items["words"].equals(log.items["title"])
    assert log.users.to_pylist()[1] == {"user_id": "2", "gender": "M", "age_group": "56", "occupation": "16"}
    for feature in log.item_features:
        assert log.items.schema.field(feature.name).type == feature.kind.arrow_type


@needs_ray
@pytest.mark.parametrize("name", ["movies.dat", "users.dat"])
def test_movies_and_users_in_utf_16_are_refused(name: str, written: Written) -> None:
    folder = written({"ratings.dat": "1::7::5::0\n"})
    (folder / name).write_bytes("7::Star (1977)::Action\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=rf"{name}: has a NUL character in line 1, .* save it as UTF-8"):
        MovieLensSource(path=str(folder)).read()


@needs_ray
def test_movielens_csv_folder(written: Written, rows: Rows) -> None:
    files = {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n",
        "movies.csv": (
            'movieId,title,genres\n11,"American ""P"", The (1995)",Comedy|Drama\n2,Ż (2019),(no genres listed)\n'
        ),
    }
    log = MovieLensSource(path=str(written(files))).read()
    assert rows(log)[0]["time"] == 1112486027
    assert log.users is None and log.user_features == () and log.items is not None
    assert log.items["title"].to_pylist() == ['American "P", The (1995)', "Ż (2019)"]
    assert log.items["genres"].to_pylist() == [["Comedy", "Drama"], []]


@needs_ray
def test_movielens_100k_folder(written: Written, rows: Rows) -> None:
    flags = "|".join("1" if i in (1, 16) else "0" for i in range(19))
    files = {
        "u.data": "196\t242\t3\t881250949\n",
        "u.item": f"242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/x|{flags}\n"
        f"243|Of No Genre (1997)||||{'|'.join('0' * 19)}\n",
        "u.user": "196|49|M|writer|55105\n",
    }
    log = MovieLensSource(path=str(written(files, "latin-1"))).read()
    assert rows(log)[0]["item_id"] == "242"
    assert log.items is not None and log.users is not None
    assert log.items["genres"].to_pylist() == [["Action", "Thriller"], []]
    assert log.users.to_pylist() == [{"user_id": "196", "gender": "M", "age_group": "45", "occupation": "writer"}]


@needs_ray
def test_movielens_without_movies_has_no_items_table(written: Written) -> None:
    files = {"ratings.dat": "1::2::3::4\n", "users.dat": "1::18405182\n"}
    folder = written(files)
    source = MovieLensSource(path=str(folder))
    log = source.read()
    assert log.items is None and log.users is None and log.item_features == ()
    assert source.files() == [str(folder / "ratings.dat"), str(folder / "users.dat")]


@needs_ray
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds none of ratings.dat, ratings.csv, u.data"),
        ({"ratings.dat": ""}, "ratings.dat: there are no interactions"),
        ({"ratings.dat": "1::2::3::noon\n"}, "ratings.dat, column 'time': 'noon' in row 1 is not a time"),
        (
            {"ratings.dat": "1::2::3::4\n1::2::3\n"},
            "ratings.dat: 1 rows do not have 7 columns, first the one in line 2.*'1::2::3'",
        ),
        ({"ratings.csv": f"{RATINGS}1,2,bad,4\n"}, "ratings.csv, column 'rating': 'bad'"),
        ({"ratings.dat": "1::2::3::4\n", "movies.dat": "1::A::X\n2::B\n"}, "movies.dat: 3 fields .*'2::B'"),
        (
            {"ratings.dat": "1::2::3::4\n", "movies.dat": "1::A::X\n1::B::X\n3::C::X\n"},
            "movies.dat: 1 values of item_id stand in more than one row, such as '1' in 2",
        ),
    ],
)
def test_movielens_faults(written: Written, files: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        survey(MovieLensSource(path=str(written(files))).read())


@needs_ray
def test_columns_of_csv_are_found_by_name(written: Written, rows: Rows) -> None:
    files = {
        "ratings.csv": "movieId,note,userId,timestamp,rating\n2,x,1,1112486027,3.5\n",
        "movies.csv": "movieId,genres,extra,title\n2,Comedy|Drama,y,Nice (1995)\n",
    }
    log = MovieLensSource(path=str(written(files))).read()
    (row,) = rows(log)
    assert [row[name] for name in ("user_id", "item_id", "weight", "time")] == ["1", "2", 3.5, 1112486027]
    assert log.items is not None
    assert log.items.select(["title", "genres"]).to_pylist() == [
        {"title": "Nice (1995)", "genres": ["Comedy", "Drama"]}
    ]


@needs_ray
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ratings.csv", "1,2,3,4\n1,3,4,5\n", r"'1,2,3,4'.* put userId,movieId,rating,timestamp before it"),
        ("ratings.csv", "1,2,3,4\n", "'1,2,3,4'"),
        ("ratings.csv", "userId,movieId,stars,timestamp\n1,2,3,4\n", "does not name 'rating' once"),
        ("ratings.csv", "userId,movieId,rating,rating,timestamp\n1,2,3,3,4\n", "does not name 'rating' once"),
        ("movies.csv", "2,Nice (1995),Comedy\n", r"'2,Nice \(1995\),Comedy'.* put movieId,title,genres before it"),
        ("movies.csv", "id,title,genres\n2,Nice,Comedy\n", "does not name 'movieId' once"),
    ],
)
def test_csv_whose_first_line_does_not_name_the_columns_is_refused(
    written: Written, name: str, text: str, message: str
) -> None:
    folder = written({"ratings.csv": f"{RATINGS}1,2,3,4\n", name: text})
    with pytest.raises(DataError, match=rf"/{name}: its first line .*{message}"):
        MovieLensSource(path=str(folder)).read()


@needs_ray
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_files_of_any_line_ends(written: Written, rows: Rows, end: str) -> None:
    files = {"ratings.dat": "1::2::3::4\n2::2::3::5\n", "movies.dat": "2::A::X\n3::B::Y\n"}
    files["users.dat"] = "2::M::25::3::12345\n1::F::18::3::12345\n"
    log = MovieLensSource(path=str(written({name: text.replace("\n", end) for name, text in files.items()}))).read()
    assert [row["user_id"] for row in rows(log)] == ["1", "2"]
    assert log.items is not None and log.users is not None
    assert log.items["item_id"].to_pylist() == ["2", "3"] and log.users["user_id"].to_pylist() == ["2", "1"]


@needs_ray
def test_a_fault_beyond_the_first_rows_is_found_by_the_survey(written: Written) -> None:
    text = "1::2::3::4\n" * 20_000 + "5::6::3::noon\n"
    with pytest.raises(
        DataError,
        match=r"in 1 of 20001 rows, first at row 20001 \(line 20001\) \(time None, user_id '5', item_id '6'\)",
    ):
        survey(MovieLensSource(path=str(written({"ratings.dat": text}))).read())


@needs_ray
def test_missing_folder_is_named() -> None:
    with pytest.raises(DataError, match=r"data\.source\.path: no file or folder /nowhere/ml"):
        MovieLensSource(path="/nowhere/ml").read()


@needs_ray
@pytest.mark.parametrize(
    ("name", "users", "items", "interactions"),
    [("movielens-1m", 6_040, 3_706, 1_000_209), ("movietweetings", 16_554, 10_506, 100_000)],
)
def test_movielens_releases_have_their_published_counts(
    public_data: Callable[..., list[str]], name: str, users: int, items: int, interactions: int
) -> None:
    log = MovieLensSource(path=public_data(name)[0]).read()
    found = survey(log)
    assert (len(found.user_ids), len(found.item_ids), found.num_interactions) == (users, items, interactions)
    assert log.items is not None and pc.all(pc.is_in(found.item_ids, log.items["item_id"])).as_py()
    assert log.items["year"].null_count == 0
