// The owner's page: figures, invitations, pause, the next batch.
import { make } from "./text.js";

const $ = (id) => document.getElementById(id);
const said = (name) => document.querySelector(`meta[name=${name}]`).content;
const ROOT = said("root"), CSRF = said("csrf");
let paused = false;

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-csrf": CSRF },
  };
  const response = await fetch(ROOT + path, options);
  const found = await response.json().catch(() => ({ error: "You are no longer signed in: open the owner’s link again." }));
  if (!response.ok) throw new Error(found.error);
  return found;
}

const percent = (share) => `${Math.round(100 * share)} %`;
const number = (x) => x.toLocaleString("en");

function tile(value, words) { return make("li", {}, make("b", {}, value), make("span", {}, words)); }

function show(found) {
  paused = found.paused;
  $("state").textContent = paused ? "Paused" : found.left ? "Running" : "No pair waits";
  $("pause").textContent = paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", paused);
  $("pick").hidden = !found.can_pick;
  const all = found.labels + found.left;
  const tiles = [
    tile(number(found.labels), `labels by people${all ? `, ${percent(found.labels / all)} of what is asked` : ""}`),
    tile(number(found.left), "answers still wanted"),
    tile(number(found.overlap), `of ${number(found.pairs)} pairs answered by two or more`),
  ];
  if (found.cost !== null) tiles.push(tile(`${found.cost.toLocaleString("en", { maximumFractionDigits: 2 })} ${found.currency}`, "for these labels so far"));
  $("tiles").replaceChildren(...tiles);
  $("people").tBodies[0].replaceChildren(...found.people.map(row));
  $("alpha").textContent = found.alpha === null
    ? "Agreement beyond chance is told from 20 pairs on that two or more have answered."
    : `Krippendorff’s α ${found.alpha.toFixed(2)} over all pairs with two answers or more: 1 is always agreed, 0 no more than chance.`;
  $("couples").hidden = found.couples.length === 0;
  $("couples").tBodies[0].replaceChildren(...found.couples.map((one) => make("tr", {},
    make("th", { scope: "row" }, `${one.first} and ${one.second}`), make("td", {}, number(one.shared)),
    make("td", {}, percent(one.same / one.shared)), make("td", {}, one.kappa === null ? "too few to tell" : one.kappa.toFixed(2)))));
}

function row(one) {
  const left = one.left ? `${percent(one.left.share)} (${percent(one.left.low)} to ${percent(one.left.high)})` : "–";
  const seconds = one.seconds === null ? "–" : `${one.seconds.toFixed(1)}${one.hurried ? `, ${one.hurried} under 1 s` : ""}`;
  const invitation = make("td", {});
  if (one.invited) {
    const copy = make("button", { type: "button", "aria-label": `Copy the link of ${one.name}` }, "Copy link");
    copy.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(one.link); tell(`The link of ${one.name} is copied.`); } catch { tell(one.link); }
    });
    const revoke = make("button", { type: "button", "aria-label": `Revoke the invitation of ${one.name}` }, "Revoke");
    revoke.addEventListener("click", () => act(() => call("/api/owner/revoke", { name: one.name }), `${one.name} is no longer invited; what they answered stays.`));
    invitation.append(copy, " ", revoke);
  } else invitation.append("none");
  return make("tr", {}, make("th", { scope: "row", dir: "auto" }, one.name), make("td", {}, number(one.answers)),
    make("td", {}, [one.a, one.b, one.tie, one.both_bad, one.skip].join(" / ")), make("td", {}, seconds),
    make("td", { class: one.left && (one.left.low > 0.5 || one.left.high < 0.5) ? "odd-one" : "" }, left),
    make("td", {}, one.steady.of ? `${one.steady.same} of ${one.steady.of}` : "–"), invitation);
}

function tell(text) { $("told").hidden = !text; $("told").textContent = text; }

async function act(what, words) {
  try {
    const found = await what();
    tell(typeof words === "function" ? words(found) : words);
  } catch (error) { tell(error.message); }
  refresh();
}

$("pause").addEventListener("click", () => act(() => call("/api/owner/pause", { paused: !paused }), paused ? "Pairs are handed out again." : "Paused: no more pairs are handed out."));
$("pick").addEventListener("click", async () => {
  $("pick").disabled = true;
  tell("Picking the next batch …");
  await act(() => call("/api/owner/pick", {}), (found) => found.message);
  $("pick").disabled = false;
});
$("invite").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("who").value.trim();
  act(() => call("/api/owner/invite", { name }), (found) => `Send this to ${found.name}: ${found.link}`);
  $("invite").reset();
});

async function refresh() {
  try { show(await call("/api/owner")); } catch (error) { $("state").textContent = error.message; }
}
refresh();
setInterval(() => { if (document.visibilityState === "visible") refresh(); }, 5000);
