"use strict";
(() => {
  const read = id => JSON.parse(document.getElementById(id).textContent);
  const plan = read("plan");

  // Tables: a click on a head sorts by it.
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
  };
  const sort = (head, descending) => {
    const table = head.closest("table");
    const column = head.cellIndex;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = Array.from(table.tBodies[0].rows);
    rows.sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      const order = x < y ? -1 : x > y ? 1 : 0;
      return descending ? -order : order;
    });
    table.tBodies[0].append(...rows);
  };
  for (const head of document.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      // Numbers are looked at from the largest.
      sort(head, now ? now === "ascending" : head.classList.contains("n"));
    });
  }

  // The map of slots: what is under the pointer, or in the field.
  const side = 128;
  const slots = new Map(plan.slots.map(s => [s.slot, s]));
  const input = document.getElementById("slot");
  const info = document.getElementById("slot-info");
  const count = n => n.toLocaleString("en");
  const size = n => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let i = 0;
    for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
    return (i > 0 && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
  };
  const show = slot => {
    const { keys, bytes } = slots.get(slot) || { keys: 0, bytes: 0 };
    let text = `slot ${slot}: ${count(keys)} ${keys === 1 ? "key" : "keys"}, ${size(bytes)}`;
    const master = plan.masters.find(m => (m.ranges || []).some(([first, last]) => first <= slot && slot <= last));
    if (master) text += ", on " + master.addr;
    const tags = plan.hash_tags.filter(t => t.slot === slot && "tag" in t).slice(0, 3);
    if (tags.length) text += ", tags " + tags.map(t => "{" + t.tag + "}").join(" ");
    info.textContent = text;
    for (const mark of document.querySelectorAll(".heat i")) {
      mark.hidden = false;
      mark.style.left = (slot % side + 0.5) / side * 100 + "%";
      mark.style.top = (Math.floor(slot / side) + 0.5) / side * 100 + "%";
    }
  };
  for (const heat of document.querySelectorAll(".heat")) {
    const mark = document.createElement("i");
    mark.hidden = true;
    heat.append(mark);
    const map = heat.querySelector("img");
    const point = event => {
      const box = map.getBoundingClientRect();
      const at = (x, length) => Math.min(side - 1, Math.max(0, Math.floor(x / length * side)));
      const slot = at(event.clientY - box.top, box.height) * side + at(event.clientX - box.left, box.width);
      input.value = slot;
      show(slot);
    };
    map.addEventListener("pointermove", point);
    map.addEventListener("pointerdown", point);
  }
  const lookUp = () => {
    const slot = Number(input.value);
    if (input.value !== "" && Number.isInteger(slot) && slot >= 0 && slot < side * side) show(slot);
  };
  if (input) input.addEventListener("input", lookUp);

  // What is seen can be linked to: #sort=big-keys.type, #sort=masters.-bytes (the
  // most first), #slot=8132, joined by &.
  const followAddress = () => {
    const wish = new URLSearchParams(location.hash.slice(1));
    const [, id, minus, name] = /^([\w-]+)\.(-?)(\w+)$/.exec(wish.get("sort")) || [];
    const head = id && document.querySelector(`#${CSS.escape(id)} th[data-sort="${name}"]`);
    if (head) sort(head, minus !== "");
    if (input && wish.has("slot")) {
      input.value = wish.get("slot");
      lookUp();
    }
  };
  addEventListener("hashchange", followAddress);
  followAddress();
  document.documentElement.dataset.ready = "yes";
})();
