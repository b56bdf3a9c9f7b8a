"""A small REST service over SQLite: the catalogue of a bookshop, sound under many writers at once.

    BOOKSHOP_DB=books.db python examples/bookshop.py
    curl -i http://127.0.0.1:8000/books -d \\
        '{"isbn": "9780156949606", "title": "The Waves", "author": "Virginia Woolf", "cents": 1250}'
    curl 'http://127.0.0.1:8000/books?author=Virginia+Woolf&limit=10'

Plain handlers run in threads, several at once, and those that prove to be quick on the event loop's thread
(docs/concurrency.md), so no connection belongs to a thread here: each call borrows one. Readers never wait,
since SQLite keeps a write-ahead log. Writers wait for each other, so blocking=True keeps them in the threads.
"""

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from cello import App, HTTPError, Response

MIGRATIONS = [  # append only: each runs once on every database
    """CREATE TABLE books (
        id INTEGER PRIMARY KEY AUTOINCREMENT, isbn TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL, author TEXT NOT NULL, cents INTEGER NOT NULL
    )""",
]

Isbn = Annotated[str, Meta(pattern=r"^97[89][0-9]{10}\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # SQLite's integers have 64 bits


class Book(Struct, forbid_unknown_fields=True):
    isbn: Isbn
    title: Text
    author: Text
    cents: Count


class Change(Struct, forbid_unknown_fields=True):
    isbn: Isbn | UnsetType = UNSET
    title: Text | UnsetType = UNSET
    author: Text | UnsetType = UNSET
    cents: Count | UnsetType = UNSET


class Page(Struct, forbid_unknown_fields=True):
    author: str | None = None
    after: Count = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Database:
    """One SQLite file, and connections to it that are lent to one call at a time."""

    def __init__(self, path):
        self._path = path
        self._idle = []  # a list's append and pop are atomic
        self._turn = threading.Lock()  # writers stand in line; those of other processes poll, for 10 s

    def _connect(self):
        # isolation_level=None: a transaction begins where writing() says so, and nowhere else.
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        return connection

    @contextmanager
    def reading(self):
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @contextmanager
    def writing(self):
        """Wait to be the only writer; all that the block writes is committed, or nothing where it raises."""
        with self._turn, self.reading() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def migrate(self):
        with self.reading() as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self.writing() as db:
            db.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
            (done,) = db.execute("SELECT count(*) FROM migrations").fetchone()
            for number, statement in enumerate(MIGRATIONS[done:], start=done + 1):
                db.execute(statement)
                db.execute("INSERT INTO migrations VALUES (?)", (number,))

    def close(self):
        while self._idle:
            self._idle.pop().close()


app = App()
database = Database(os.environ.get("BOOKSHOP_DB", "bookshop.db"))
app.on_startup(database.migrate)
app.on_shutdown(database.close)


def one(cursor):
    """Return the row that a statement found or changed; a 404 where there is none."""
    rows = cursor.fetchall()
    if not rows:
        raise HTTPError(404, "there is no such book")
    return dict(rows[0])


@app.get("/books")
def list_books(request):
    page = msgspec.convert(dict(request.query), Page, strict=False)
    sql = """SELECT * FROM books WHERE id > :after AND (:author IS NULL OR author = :author)
        ORDER BY id LIMIT :limit + 1"""
    with database.reading() as db:
        books = [dict(row) for row in db.execute(sql, msgspec.to_builtins(page))]
    if len(books) <= page.limit:
        return {"books": books, "next": None}
    query = {**request.query, "after": books[page.limit - 1]["id"]}
    return {"books": books[: page.limit], "next": f"{app.url_for('list_books')}?{urlencode(query)}"}


@app.post("/books", blocking=True)
def create_book(request):
    sql = "INSERT INTO books (isbn, title, author, cents) VALUES (:isbn, :title, :author, :cents) RETURNING *"
    given = msgspec.convert(request.json(), Book)
    with database.writing() as db:
        book = one(db.execute(sql, msgspec.to_builtins(given)))
    return Response.created(book, location=app.url_for("show_book", id=book["id"]))


@app.get("/books/{id:int}")
def show_book(request):
    with database.reading() as db:
        return one(db.execute("SELECT * FROM books WHERE id = :id", request.params))


@app.route("/books/{id:int}", methods=["PUT", "PATCH"], blocking=True)
def change_book(request):
    sql = """UPDATE books SET isbn = coalesce(:isbn, isbn), title = coalesce(:title, title),
        author = coalesce(:author, author), cents = coalesce(:cents, cents) WHERE id = :id RETURNING *"""
    given = msgspec.convert(request.json(), Book if request.method == "PUT" else Change)
    unchanged = dict.fromkeys(Change.__struct_fields__)
    with database.writing() as db:
        return one(db.execute(sql, {**unchanged, **msgspec.to_builtins(given), **request.params}))


@app.delete("/books/{id:int}", blocking=True)
def delete_book(request):
    with database.writing() as db:
        one(db.execute("DELETE FROM books WHERE id = :id RETURNING *", request.params))


@app.exception_handler(msgspec.ValidationError)
def invalid(request, exc):
    return Response.error(422, str(exc))


@app.exception_handler(sqlite3.IntegrityError)
def taken(request, exc):  # the one constraint that valid input can break
    return Response.error(409, "another book has this ISBN")


@app.exception_handler(OverflowError)
def beyond(request, exc):  # {id:int} takes 19 digits, more than SQLite's integers have
    return Response.error(404, "there is no such book")


if __name__ == "__main__":
    app.run()
