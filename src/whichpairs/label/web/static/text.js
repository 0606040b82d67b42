// Hostile texts as nodes: nothing here ever parses HTML.

const TAGS = new Set(("p h1 h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li table thead tbody tr th td hr br").split(" "));
const HEADINGS = { h1: "h3", h2: "h4", h3: "h5", h4: "h6", h5: "h6", h6: "h6" };
export const FIRST = 60000;
// Characters that would be invisible, or would turn the text around them, are shown by their number. Joiners stay: scripts and emoji need them.
const ODD = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// A text with its odd characters made visible.
export function plain(text) {
  const nodes = document.createDocumentFragment();
  let from = 0, marks = 0;
  for (const found of text.matchAll(ODD)) {
    if (++marks > 2000) break;
    nodes.append(text.slice(from, found.index));
    const number = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    nodes.append(make("span", { class: "odd", title: `character U+${number}` }, number));
    from = found.index + found[0].length;
  }
  nodes.append(text.slice(from));
  return nodes;
}

// The trees that the server makes of Markdown.
export function built(nodes) {
  const all = document.createDocumentFragment();
  for (const node of nodes) {
    if (typeof node === "string") all.append(plain(node));
    else if (TAGS.has(node[0])) {
      const one = document.createElement(HEADINGS[node[0]] ?? node[0]);
      one.append(built(node.slice(1)));
      if (node[0] === "pre") one.tabIndex = 0;
      all.append(one);
    } else all.append(built(node.slice(1)));
  }
  return all;
}

// A long text begins with its first part; the rest comes on request.
export function block(text, tree, marks) {
  const box = document.createDocumentFragment();
  if (tree) {
    box.append(make("div", { class: "rich", dir: "auto" }, built(tree)));
    return box;
  }
  const shown = text.slice(0, FIRST);
  const body = make("div", { class: "plain", dir: "auto" });
  if (marks) for (const [differs, part] of marks) body.append(differs ? make("mark", {}, plain(part)) : plain(part));
  else body.append(plain(shown));
  box.append(body);
  if (!marks && text.length > FIRST) {
    const more = make("button", { type: "button" }, `Show the other ${(text.length - FIRST).toLocaleString("en")} characters`);
    more.addEventListener("click", () => { body.append(plain(text.slice(FIRST))); more.remove(); });
    box.append(more);
  }
  return box;
}

// Which words are in one text only: Myers' greedy difference (1986) over words; null where too many differ.
export function differences(a, b, most = 3000) {
  const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  const one = words(a), other = words(b), n = one.length, m = other.length;
  const trail = [], zero = most + 1, far = new Int32Array(2 * most + 3);
  const goesDown = (reach, at, k, d) => k === -d || (k !== d && reach[at + k - 1] < reach[at + k + 1]);
  for (let d = 0; d <= Math.min(n + m, most); d++) {
    trail.push(far.slice(zero - d - 1, zero + d + 2)); // before this step; diagonal k stands at d + 1 + k
    for (let k = -d; k <= d; k += 2) {
      let x = goesDown(far, zero, k, d) ? far[zero + k + 1] : far[zero + k - 1] + 1;
      while (x < n && x - k < m && one[x] === other[x - k]) x++;
      far[zero + k] = x;
      if (x >= n && x - k >= m) return walked(one, other, trail, goesDown);
    }
  }
  return null;
}

function walked(one, other, trail, goesDown) {
  const inA = new Array(one.length).fill(false), inB = new Array(other.length).fill(false);
  let k = one.length - other.length;
  for (let d = trail.length - 1; d > 0; d--) {
    const down = goesDown(trail[d], d + 1, k, d), before = down ? k + 1 : k - 1, x = trail[d][d + 1 + before];
    if (down) inB[x - before] = true; else inA[x] = true;
    k = before;
  }
  const grouped = (words, marks) => {
    const parts = [];
    words.forEach((word, i) => {
      if (parts.length && parts.at(-1)[0] === marks[i]) parts.at(-1)[1] += word;
      else parts.push([marks[i], word]);
    });
    return parts;
  };
  return [grouped(one, inA), grouped(other, inB)];
}
