"""The pages as an ASGI application: one table of routes, each with who may use it.

Handlers do what `desk` does in a thread, so that a slow disk holds up nobody else.
"""

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from whichpairs.errors import UserError
from whichpairs.label.web.desk import Desk
from whichpairs.label.web.guard import Address, Guard, Pace, TooLongError
from whichpairs.label.web.keys import SESSION_DAYS, Keys, Role, Session
from whichpairs.label.web.project import check_name
from whichpairs.label.web.render import tree

Handler = Callable[["Web", Request, Session], Awaitable[Response]]
STATIC = {
    "page.css": "text/css",
    "label.js": "text/javascript",
    "text.js": "text/javascript",
    "owner.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
NOT_YOURS = (
    "This page needs an invitation. Open the link that you were sent; if it no longer works, "
    "ask for another."
)


@dataclass(frozen=True)
class Entry:
    """One route.

    Attributes:
        who: who may use it; "both" is anybody with a session.
    """

    method: Literal["GET", "POST"]
    path: str
    who: Role | Literal["both"]
    handler: Handler


@dataclass(frozen=True)
class Web:
    """All that the handlers share."""

    desk: Desk
    keys: Keys
    address: Address
    templates: Environment
    pace: Pace
    knocks: Pace

    def page(self, template: str, session: Session, **more: Any) -> HTMLResponse:
        """A page of somebody's."""
        found = self.templates.get_template(template)
        about = {"root": self.address.root, "csrf": session.csrf, "settings": self.desk.settings}
        return HTMLResponse(found.render(**about, **more))

    def link(self, token: str) -> str:
        """The address that lets somebody in."""
        return f"{self.address.origin}{self.address.root}/join/{token}"


def application(desk: Desk, keys: Keys, address: Address) -> Starlette:
    """The application behind `whichpairs serve`."""
    loaded = files("whichpairs.label.web").joinpath("templates")

    def load(name: str) -> str:
        return loaded.joinpath(name).read_text(encoding="utf-8")

    templates = Environment(
        loader=FunctionLoader(load),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    web = Web(desk, keys, address, templates, Pace(20.0, 60.0), Pace(1.0, 20.0))
    routes = [Route("/join/{token}", _join(web), methods=["GET"])]
    for entry in ROUTES:
        routes.append(Route(entry.path, _guarded(web, entry), methods=[entry.method]))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, address=address)],
        exception_handlers={404: _lost(web), 405: _lost(web), TooLongError: _too_long},
    )
    app.router.redirect_slashes = False
    app.state.web = web
    keys.revoked.append(desk.forget)
    return app


def refused(status: int = 401) -> Response:
    """What nobody in particular gets, whatever they asked for."""
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Not '
        f"yours</title><p>{NOT_YOURS}</p></html>\n"
    )
    return HTMLResponse(page, status)


def _session(web: Web, request: Request) -> Session | None:
    return web.keys.session(request.cookies.get(web.keys.cookie))


def _guarded(web: Web, entry: Entry) -> Callable[[Request], Awaitable[Response]]:
    """A handler for those who may: with a session, from our own page, not too often."""

    async def endpoint(request: Request) -> Response:
        session = _session(web, request)
        if session is None or entry.who not in (session.role, "both"):
            return refused(401 if session is None else 403)
        if entry.method == "POST" and not _from_our_page(web, request, session):
            return refused(403)
        if not web.pace.allows(f"{session.role}:{session.name}"):
            return _told(429, "Too many requests at once; wait a moment.")
        try:
            return await entry.handler(web, request, session)
        except UserError as error:
            return _told(422, str(error))
        except ClientDisconnect:
            return Response(status_code=400)

    return endpoint


def _from_our_page(web: Web, request: Request, session: Session) -> bool:
    """Whether our own page sent this: its token, and where the browser says that it is from."""
    sent = request.headers.get("x-csrf", "")
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    ours = origin is None or origin.lower() == web.address.origin or _local(web, origin)
    return (
        hmac.compare_digest(sent.encode(), session.csrf.encode()) and ours and site == "same-origin"
    )


def _local(web: Web, origin: str) -> bool:
    """Another name of this machine, on the same port."""
    scheme, _, host = origin.lower().partition("://")
    port = web.address.origin.rpartition(":")[2]
    return scheme == "http" and web.address.allows(host) and host.rpartition(":")[2] == port


def _join(web: Web) -> Callable[[Request], Awaitable[Response]]:
    """Exchange a link for a cookie."""

    async def endpoint(request: Request) -> Response:
        cookie = web.keys.join(request.path_params["token"][:200])
        if cookie is None:
            who = request.client.host if request.client else ""
            return refused(401 if web.knocks.allows(who) else 429)
        session = web.keys.session(cookie)
        assert session is not None
        home = "/owner" if session.role == "owner" else "/"
        response = RedirectResponse(f"{web.address.root}{home}", 303)
        response.set_cookie(
            web.keys.cookie,
            cookie,
            max_age=SESSION_DAYS * 86_400,
            path=f"{web.address.root}/",
            secure=web.address.secure,
            httponly=True,
            samesite="lax",
        )
        return response

    return endpoint


def _lost(web: Web) -> Callable[[Request, Exception], Awaitable[Response]]:
    """No such page, for those who are in; the others learn nothing of what there is."""

    async def answer(request: Request, error: Exception) -> Response:
        if _session(web, request) is None:
            return refused(401)
        return _told(getattr(error, "status_code", 404), "There is no such page.")

    return answer


async def _too_long(request: Request, error: Exception) -> Response:
    return _told(413, "A request is shorter than that.")


def _told(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError("a request's body must be a JSON object", "this one is not")
    return found


async def label_page(web: Web, request: Request, session: Session) -> Response:
    """The labelling page; an owner has another."""
    if session.role == "owner":
        return RedirectResponse(f"{web.address.root}/owner", 303)
    guidelines = web.desk.settings.guidelines
    rendered = None if guidelines is None else tree(guidelines) or [["pre", guidelines]]
    facts = {"strength": web.desk.settings.strength, "guidelines": rendered, "name": session.name}
    return web.page("label.html.j2", session, facts=json.dumps(facts), name=session.name)


async def owner_page(web: Web, request: Request, session: Session) -> Response:
    """The owner's page."""
    return web.page("owner.html.j2", session, run=web.desk.project.name)


async def static(web: Web, request: Request, session: Session) -> Response:
    """One of our own files."""
    name = request.path_params["name"]
    if name not in STATIC:
        return _told(404, "There is no such page.")
    found = files("whichpairs.label.web").joinpath("static", name).read_bytes()
    return Response(
        found, media_type=STATIC[name], headers={"cache-control": "private, max-age=300"}
    )


async def alive(web: Web, request: Request, session: Session) -> Response:
    """An empty page: whether the server is there, and how long it takes to say so."""
    return Response(b"", media_type="text/plain")


async def leave(web: Web, request: Request, session: Session) -> Response:
    """Forget the cookie."""
    if session.role == "annotator":
        await run_in_threadpool(web.desk.store.give_back, session.name)
    response = JSONResponse({"left": True})
    response.delete_cookie(web.keys.cookie, path=f"{web.address.root}/")
    return response


async def following(web: Web, request: Request, session: Session) -> Response:
    """The annotator's next pairs."""
    return JSONResponse(await run_in_threadpool(web.desk.following, session.name))


async def rendered(web: Web, request: Request, session: Session) -> Response:
    """A pair as Markdown."""
    handle = request.path_params["handle"]
    return JSONResponse(await run_in_threadpool(web.desk.rendered, session.name, handle))


async def answer(web: Web, request: Request, session: Session) -> Response:
    """Take an answer."""
    said = await _body(request)
    return JSONResponse(await run_in_threadpool(web.desk.reply, session.name, said))


async def quiz(web: Web, request: Request, session: Session) -> Response:
    """Take an answer to the quiz."""
    said = await _body(request)
    return JSONResponse(await run_in_threadpool(web.desk.answer_quiz, session.name, said))


async def overview(web: Web, request: Request, session: Session) -> Response:
    """The owner's figures."""
    found = await run_in_threadpool(web.desk.overview, sorted(web.keys.invited))
    for one in found["people"]:
        one["link"] = web.link(web.keys.token(one["name"])) if one["invited"] else None
    return JSONResponse(found)


async def pause(web: Web, request: Request, session: Session) -> Response:
    """Pause, or go on."""
    said = await _body(request)
    await run_in_threadpool(web.desk.pause, said.get("paused") is True)
    return JSONResponse({"paused": web.desk.paused})


async def invite(web: Web, request: Request, session: Session) -> Response:
    """Invite somebody."""
    said = await _body(request)
    name = check_name(str(said.get("name", "")))
    token = await run_in_threadpool(web.keys.invite, name)
    return JSONResponse({"name": name, "link": web.link(token)})


async def revoke(web: Web, request: Request, session: Session) -> Response:
    """Take an invitation back."""
    said = await _body(request)
    done = await run_in_threadpool(web.keys.revoke, str(said.get("name", "")))
    return JSONResponse({"revoked": done})


async def pick(web: Web, request: Request, session: Session) -> Response:
    """Pick the next batch now."""
    return JSONResponse({"message": await run_in_threadpool(web.desk.pick)})


ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/", "both", label_page),
    Entry("GET", "/static/{name}", "both", static),
    Entry("GET", "/alive", "both", alive),
    Entry("POST", "/leave", "both", leave),
    Entry("GET", "/api/next", "annotator", following),
    Entry("GET", "/api/rendered/{handle}", "annotator", rendered),
    Entry("POST", "/api/answer", "annotator", answer),
    Entry("POST", "/api/quiz", "annotator", quiz),
    Entry("GET", "/owner", "owner", owner_page),
    Entry("GET", "/api/owner", "owner", overview),
    Entry("POST", "/api/owner/pause", "owner", pause),
    Entry("POST", "/api/owner/invite", "owner", invite),
    Entry("POST", "/api/owner/revoke", "owner", revoke),
    Entry("POST", "/api/owner/pick", "owner", pick),
)
