"""The smallest application: run ``python examples/hello.py --port 8080``, open the page, edit it."""

from cello import App, Response

app = App()

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Cello</title>
<style>
  :root { color-scheme: light dark; font: 1.1rem/1.6 system-ui, sans-serif }
  body { max-width: 36rem; margin: 4rem auto; padding: 0 1.5rem }
  code { font-size: .95em }
</style>
<h1>It plays.</h1>
<p>This page is <code>index()</code> in <code>examples/hello.py</code>.
   Edit it, start it again, and reload.</p>
<p>JSON: <a href="/hello/world">/hello/world</a></p>
</html>
"""


@app.get("/")
def index(request):
    return Response.html(PAGE)


@app.get("/hello/{name}")
def hello(request):
    return {"message": f"Hello, {request.params['name']}!"}


if __name__ == "__main__":
    app.run()
