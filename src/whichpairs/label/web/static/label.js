// The labelling page. An answer shows the next pair at once and is sent behind it; until the server has said
// that it is on disk, it waits in this browser's storage, so that neither a reload nor a lost network loses it.
import { block, built, differences, make } from "./text.js";

const $ = (id) => document.getElementById(id);
const said = (name) => document.querySelector(`meta[name=${name}]`).content;
const ROOT = said("root"), CSRF = said("csrf"), FACTS = JSON.parse(said("facts"));
const AHEAD = 3, KEPT = 20;
const OUTBOX = `whichpairs:${ROOT}:${FACTS.name}`, VIEW = "whichpairs:view";
const state = {
  queue: [], now: null, quiz: null, shownAt: 0, side: null, comment: "", done: [], undoing: null,
  differ: false, rich: localStorage.getItem(VIEW) === "markdown", sending: false, progress: {}, empty: false, stopped: false,
};
const outbox = JSON.parse(localStorage.getItem(OUTBOX) ?? "[]");

async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-csrf": CSRF },
  };
  const response = await fetch(ROOT + path, options);
  if (response.status === 401 || response.status === 403) { stop(); throw Object.assign(new Error("no longer invited"), { final: true }); }
  const found = await response.json();
  if (!response.ok) throw Object.assign(new Error(found.error), { final: response.status !== 429 && response.status < 500 });
  return found;
}

// ——— what is shown

function take(found) {
  if (found.done !== undefined) state.progress = found;
  state.quiz = found.quiz ?? null;
  if (found.pairs) {
    const have = new Set([state.now?.handle, ...state.queue.map((p) => p.handle), ...outbox.map((o) => o.handle), ...state.done.map((o) => o.pair.handle)]);
    for (const pair of found.pairs) if (!have.has(pair.handle)) state.queue.push(pair);
    state.empty = found.pairs.length === 0;
  }
  if (found.paused) state.queue = [];
  progress();
  if (state.quiz) askQuiz();
  else if (found.paused && !state.now) message("Paused", "Whoever runs this has paused it. What you answered is kept; this page goes on by itself.");
  else if (!state.now) next();
}

function next() {
  state.now = state.queue.shift() ?? null;
  state.undoing = null;
  show();
  if (!state.now && state.empty) message("That is all for now", "There is no pair left for you. When there are more, they appear here.");
  if (state.now && state.rich) for (const pair of state.queue) render(pair);
}

function show() {
  const pair = state.now ?? (state.quiz && !state.quiz.failed ? state.quiz : null);
  $("pair").hidden = $("answers").hidden = !pair;
  state.side = null;
  strengths();
  if (!pair) return;
  $("message").hidden = true;
  state.comment = state.undoing?.comment ?? "";
  draw(pair);
  for (const box of [$("prompt"), $("text-a"), $("text-b"), document.scrollingElement]) box.scrollTop = 0;
  state.shownAt = performance.now();
  commented();
  $("undo").disabled = state.done.length === 0 || Boolean(state.quiz);
  $("skip").hidden = $("comment-button").hidden = $("undo").hidden = Boolean(state.quiz);
}

function draw(pair) {
  const trees = state.rich ? pair.trees : null;
  if (state.rich && !trees && pair.handle) render(pair).then(() => { if (state.now === pair && state.rich) draw(pair); });
  const marks = state.differ && !trees ? differences(pair.a, pair.b) : null;
  $("prompt").replaceChildren(...pair.prompt.map((turn, i) => make("div", { class: "turn" },
    ...(turn.role ? [make("h3", { class: "role", dir: "auto" }, turn.role)] : []), block(turn.text, trees?.prompt[i]))));
  $("text-a").replaceChildren(block(pair.a, trees?.a, marks?.[0]));
  $("text-b").replaceChildren(block(pair.b, trees?.b, marks?.[1]));
  if (state.differ && !marks) note(trees ? "Differences are shown in plain text." : "These two differ too much to mark.");
  else if (!state.quiz) note("");
}

async function render(pair) {
  if (pair.trees || !pair.handle) return;
  try { pair.trees = await call(`/api/rendered/${encodeURIComponent(pair.handle)}`); } catch { pair.trees = null; }
}

function progress() {
  const { done = 0, left = 0, pace } = state.progress;
  const words = [`${done.toLocaleString("en")} answered`, `about ${left.toLocaleString("en")} left for all`];
  if (pace) words.push(`${pace < 10 ? pace.toFixed(1) : Math.round(pace)} s each`, `${span(pace * left)} for one person`);
  if (state.quiz && !state.quiz.failed) {
    const q = state.quiz;
    $("progress").textContent = `Quiz: ${q.number + 1} of ${q.total}, ${Math.round(100 * q.needed)} % right to begin`;
  } else $("progress").textContent = state.progress.done === undefined ? "" : words.join(" · ");
  const share = done + left ? done / (done + left) : 0;
  $("meter").firstElementChild.style.width = `${(100 * share).toFixed(1)}%`;
}

function span(seconds) {
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? "under a minute" : minutes < 90 ? `about ${minutes} min` : `about ${(minutes / 60).toFixed(1)} h`;
}

function message(title, text) {
  $("pair").hidden = $("answers").hidden = true;
  $("message").hidden = false;
  $("message").firstElementChild.textContent = title;
  $("message").lastElementChild.textContent = text;
}

function note(text) { $("verdict").hidden = !text; $("verdict").textContent = text; }

function stop() {
  state.stopped = true;
  message("You are no longer signed in", "Open the link that you were sent. If it no longer works, ask for another.");
}

// ——— answers

function choose(choice, strength = null) {
  if ($("answers").hidden) return;
  if (state.quiz) { answerQuiz(choice); return; }
  if (!state.now) return;
  if (FACTS.strength && strength === null && (choice === "a" || choice === "b")) {
    state.side = choice;
    strengths();
    return;
  }
  const pair = state.now, took = (performance.now() - state.shownAt) / 1000;
  const one = {
    handle: pair.handle, key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, choice, strength,
    comment: state.comment || null, corrects: Boolean(state.undoing), took, at: Date.now(),
  };
  outbox.push(one);
  keep();
  const back = state.undoing?.next;
  state.done = [...state.done.filter((d) => d.pair.handle !== pair.handle), { pair, comment: state.comment }].slice(-KEPT);
  if (back) state.queue.unshift(back);
  next();
  send();
}

function undo() {
  if (state.quiz || state.done.length === 0) return;
  const last = state.done.pop();
  const after = state.now;
  state.undoing = { comment: last.comment, next: after };
  state.now = last.pair;
  show();
  note("Back at the pair before: your next answer to it replaces the last.");
}

function keep() { localStorage.setItem(OUTBOX, JSON.stringify(outbox)); }

async function send() {
  if (state.sending || state.stopped) return;
  state.sending = true;
  let wait = 500;
  while (outbox.length && !state.stopped) {
    const { at, ...one } = outbox[0];
    try {
      const found = await call("/api/answer", { ...one, ago: Math.max(0, (Date.now() - at) / 1000), have: state.queue.length });
      outbox.shift();
      keep();
      wait = 500;
      saving("");
      if (found.kept === "late") saving("Another person had answered that pair meanwhile; yours is kept beside it.");
      take(found);
    } catch (error) {
      if (error.final) {
        if (state.stopped) break;
        outbox.shift();
        keep();
        saving(`Not taken: ${error.message}`);
        continue;
      }
      saving(`${outbox.length === 1 ? "One answer waits" : `${outbox.length} answers wait`} to be saved: no connection. They are kept here, and sent again by themselves.`);
      await new Promise((go) => setTimeout(go, wait));
      wait = Math.min(2 * wait, 15000);
    }
  }
  state.sending = false;
}

function saving(text) { $("saving").hidden = !text; $("saving").textContent = text; }

function strengths() {
  const on = state.side !== null;
  $("strengths").hidden = !on;
  if (on) $("how-much").textContent = `${state.side.toUpperCase()} is better. How much?`;
  for (const side of ["a", "b"]) $(`side-${side}`).classList.toggle("chosen", state.side === side);
}

// ——— the quiz

function askQuiz() {
  state.now = null;
  if (state.quiz.failed) message("Thank you", "The quiz was not passed, so there are no pairs for you here. Whoever invited you can invite you again.");
  else show();
  progress();
}

async function answerQuiz(choice) {
  const named = { a: "A is better", b: "B is better", tie: "equally good", both_bad: "both bad" };
  $("answers").hidden = true;
  try {
    const found = await call("/api/quiz", { number: state.quiz.number, choice });
    state.queue = [];
    take(found);
    note(`${found.right ? "Right" : `Not so: ${named[found.answer]}`}. ${found.why}${found.quiz ? "" : " The quiz is passed: this is the first pair."}`);
  } catch (error) { note(`Not taken: ${error.message}`); $("answers").hidden = false; }
}

// ——— keys and buttons

function commented() { $("comment-button").classList.toggle("on", Boolean(state.comment)); }

function comment() {
  if (!state.now) return;
  $("comment-text").value = state.comment;
  $("comment").showModal();
  $("comment-text").focus();
}

function commentDone() { state.comment = $("comment-text").value.trim().replaceAll("\0", ""); commented(); }

$("comment").addEventListener("close", commentDone);
$("comment-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); commentDone(); $("comment").close(); }
});

function toggleView() {
  state.rich = !state.rich;
  localStorage.setItem(VIEW, state.rich ? "markdown" : "plain");
  $("view").setAttribute("aria-pressed", state.rich);
  if (state.now || state.quiz) draw(state.now ?? state.quiz);
}

function toggleDiffer() {
  state.differ = !state.differ;
  $("differ").setAttribute("aria-pressed", state.differ);
  if (state.now || state.quiz) draw(state.now ?? state.quiz);
}

function toggleGuide() {
  if (!FACTS.guidelines) return;
  $("guidelines").hidden = !$("guidelines").hidden;
  $("guide").setAttribute("aria-expanded", !$("guidelines").hidden);
}

const KEYS = {
  ArrowLeft: () => choose("a"), ArrowRight: () => choose("b"), ArrowDown: () => choose("tie"), b: () => choose("both_bad"),
  s: () => { if (!state.quiz) choose("skip"); }, u: undo, c: comment, d: toggleDiffer, m: toggleView, g: toggleGuide, "?": () => $("help").showModal(),
  Escape: () => { state.side = null; strengths(); },
};
for (const n of [1, 2, 3, 4]) KEYS[n] = () => { if (state.side) choose(state.side, n); };

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});
for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(button.dataset.choice));
for (const button of document.querySelectorAll("[data-strength]")) button.addEventListener("click", () => choose(state.side, Number(button.dataset.strength)));
$("skip").addEventListener("click", () => choose("skip"));
$("undo").addEventListener("click", undo);
$("comment-button").addEventListener("click", comment);
$("help-button").addEventListener("click", KEYS["?"]);
$("view").addEventListener("click", toggleView);
$("differ").addEventListener("click", toggleDiffer);
$("guide").addEventListener("click", toggleGuide);

// Long texts scroll together, each by its own share.
let leading = null;
for (const [mine, other] of [["text-a", "text-b"], ["text-b", "text-a"]]) {
  $(mine).addEventListener("scroll", () => {
    if (leading && leading !== mine) return;
    leading = mine;
    const from = $(mine), to = $(other), room = from.scrollHeight - from.clientHeight;
    if (room > 0) to.scrollTop = (from.scrollTop / room) * (to.scrollHeight - to.clientHeight);
    clearTimeout(from.timer);
    from.timer = setTimeout(() => { leading = null; }, 120);
  }, { passive: true });
}

// ——— begin

if (FACTS.guidelines) {
  $("guide").hidden = false;
  $("guidelines").append(make("div", { class: "rich" }, built(FACTS.guidelines)));
  if (matchMedia("(min-width: 80rem)").matches) toggleGuide();
}
$("view").setAttribute("aria-pressed", state.rich);

async function refresh() {
  if (state.stopped || outbox.length) { send(); return; }
  try { take(await call("/api/next")); } catch { if (!state.now && !state.stopped) message("No connection", "This page goes on by itself when the server answers."); }
}
async function begin() { await send(); await refresh(); }
begin();
// Renews what is lent while the page is looked at, and finds out about new pairs.
setInterval(() => { if (document.visibilityState === "visible") refresh(); }, 20000);
window.addEventListener("online", send);
