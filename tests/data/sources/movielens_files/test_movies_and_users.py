"""What stands in place of rows and values in files of movies and users is refused with file and line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.sources.movielens import MovieLensSource
from data.sources.schema import DataError

needs_ray = pytest.mark.usefixtures("ray_session")
Written = Callable[..., Path]
RATINGS, RATING_DAT = "userId,movieId,rating,timestamp\n", {"ratings.dat": "1::2::3::4\n"}
USER_DAT = "1::M::25::3::12345\n"


@needs_ray
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ratings.dat", "UserID::MovieID::Rating::Timestamp\n1::2::3::4\n", r"column '(weight|time)': .* in row 1 "),
        ("movies.dat", "MovieID::Title::Genres\n2::A::X\n", "remove a line of names.* in line 1$"),
        ("movies.dat", "2::A::X\n\nmovie_id::title::genres\n3::B::X\n", "remove a line of names.* in line 3$"),
        ("users.dat", f"UserID::Gender::Age::Occupation::Zip-code\n{USER_DAT}", "remove a line of names.* in line 1$"),
        ("users.dat", "user_id::twitter_id\n1::184\n2::185\n", "expected .*, not 'user_id::twitter_id' in line 1$"),
    ],
)
def test_names_of_columns_in_dat_files_are_no_rows(written: Written, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"/{name}[:,] .*{message}"):
        MovieLensSource(path=str(written({**RATING_DAT, name: text}))).read()


@needs_ray
def test_names_repeated_within_ratings_and_movies_are_no_rows(written: Written) -> None:
    header = "movieId,title,genres\n"
    folder = written({"ratings.csv": f"{RATINGS}1,2,3,4\n", "movies.csv": f"{header}1,A,X\n{header}2,B,X\n"})
    with pytest.raises(DataError, match=r"movies\.csv, line 3: the row repeats the names of the columns .*: remove it"):
        MovieLensSource(path=str(folder)).read()
    folder = written({"ratings.csv": f"{RATINGS}1,2,3,4\n{RATINGS}1,3,3,5\n"})
    (folder / "movies.csv").unlink()
    with pytest.raises(DataError, match=r"ratings\.csv, column '(rating|timestamp)': .* in row 2 is not a"):
        MovieLensSource(path=str(folder)).read()


@needs_ray
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1::M::25::3\n" + 5 * USER_DAT, "5 fields .* expected .*, not '1::M::25::3' in line 1$"),
        (2 * USER_DAT + "3::184\n", "5 fields .* expected .*, not '3::184' in line 3$"),
        ("1::184\n2::185\n\n3::M\n", "an id and an id of Twitter.* expected .*, not '3::M' in line 4$"),
        ("1::M\n2::F\n", "5 fields .* expected .*, not '1::M' in line 1$"),
    ],
)
def test_users_are_left_out_only_where_all_are_of_twitter(written: Written, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"/users\.dat: {message}"):
        MovieLensSource(path=str(written({**RATING_DAT, "users.dat": text}))).read()


@needs_ray
def test_a_file_of_users_without_features_is_said(written: Written) -> None:
    folder = written({**RATING_DAT, "users.dat": "1::184\n"})
    assert MovieLensSource(path=str(folder)).read().notes == (
        f"{folder}/users.dat: no features of users are read from it",
    )
    folder = written({"users.dat": USER_DAT})
    assert MovieLensSource(path=str(folder)).read().notes == ()


@needs_ray
def test_ages_of_the_release_100k(written: Written) -> None:
    ages = {"1": ["0", "7", "17.5"], "18": ["18"], "45": ["49"], "56": ["56", "90"], None: ["", "nan", "NULL"]}
    of_users = [(str(group), age) for group, some in ages.items() for age in some]
    text = "".join(f"{number}|{age}|M|writer|1\n" for number, (_, age) in enumerate(of_users))
    log = MovieLensSource(path=str(written({"u.data": "1\t2\t3\t4\n", "u.user": text}))).read()
    assert log.users is not None
    assert [str(group) for group in log.users["age_group"].to_pylist()] == [group for group, _ in of_users]


@needs_ray
@pytest.mark.parametrize("age", ["abc", "-5", "inf", "1e9", "24 years"])
def test_what_is_no_age_is_refused(written: Written, age: str) -> None:
    folder = written({"u.data": "1\t2\t3\t4\n", "u.user": f"1|24|M|writer|1\n\n2|{age}|M|writer|1\n"})
    with pytest.raises(DataError, match=rf"/u\.user: an age from 0 to 150.* expected .*, not '2\|{age}\|.* in line 3$"):
        MovieLensSource(path=str(folder)).read()


@needs_ray
@pytest.mark.parametrize("flag", ["2", "", "x", " 1"])
def test_what_marks_no_genre_is_refused(written: Written, flag: str) -> None:
    text = f"242|Kolya (1996)|24-Jan-1997||x|{flag}|{'|'.join('0' * 18)}\n"
    folder = written({"u.data": "1\t2\t3\t4\n", "u.item": text})
    with pytest.raises(DataError, match=r"/u\.item: 0 or 1 expected for 'unknown', not '242\|.* in line 1$"):
        MovieLensSource(path=str(folder)).read()
